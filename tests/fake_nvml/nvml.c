/* A stand-in for libnvidia-ml.so.1 for tests of wattlaw. Its devices live in a file that all processes map
 * ($FAKE_NVML_STATE), so limits set by one are seen by all. Power follows load, clock and cap; energy is its
 * exact integral; what the counters show is renewed only every update period, as on real devices.
 * Nothing measured through it says anything about real hardware.
 *
 * -DOLD_DRIVER leaves out what old drivers lack: the energy counter, field values, newer process lists, MIG. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { OK = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
       UNINITIALIZED = 1, LOST = 15, UNKNOWN = 999 };

/* The places of a device's values; tests/fake_nvml/__init__.py has the same list. */
enum { LOAD, IDLE_W, FULL_W, LIMIT_W, DEFAULT_W, LOW_W, HIGH_W, SM_LOCK, MEMORY_LOCK, SM_MHZ, MEMORY_MHZ, UPDATE_S,
       AVERAGE_S, LOST_AT, MAY_SET, HAS_COUNTER, FAIL_EVERY, CALLS, COUNTER_SHIFT_J, TEMPERATURE, THROTTLE, OTHER_PID,
       MEMORY_USED, HAS_INSTANT, IGNORES_SETS, SETS, IS_MIG, LINKS, LINK_WAY, LINK_RATE, PCIE_RATE, BYTES_SHIFT,
       SM_APPLICATION, MEMORY_APPLICATION, IS_BEFORE_R470, IS_PERSISTENT, IS_HIDDEN, KIND, VALUES = 64 };

/* How a device tells the bytes of its NVLinks: LINK_WAY. */
enum { SUMMED, BY_LINK, NEWER, OLD_COUNTERS, OLD_COUNTERS_OF_PACKETS };

#define SEGMENTS 2048
#define MOST 16
#define MOST_INSTANCES 7
#define MOST_USERS 64

typedef struct { double at, watts, joules; } Segment;
typedef struct { double v[VALUES]; long n; Segment segment[SEGMENTS]; } Device;
/* A MIG instance of a device, at NVML's index of it. It has no meters; slices 0 is none there. */
typedef struct { int gi, ci, slices, is_hidden; double memory_used, pid; } Instance;

typedef struct { long count; Device device[MOST]; Instance instance[MOST][MOST_INSTANCES]; int user[MOST_USERS]; } State;

static State *state;
static int file = -1, users;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static int map_state(void) {
    const char *asked = getenv("FAKE_NVML_STATE"), *node = getenv("SLURMD_NODENAME");
    char path[4096];
    if (state) return OK;
    if (!asked) return NOT_FOUND;
    /* each node of a test's cluster has devices of its own, though all share one machine */
    snprintf(path, sizeof path, "%s%s%s", asked, node ? "-" : "", node ? node : "");
    file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (file < 0 || ftruncate(file, sizeof(State))) return NOT_FOUND;
    state = mmap(NULL, sizeof(State), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (state == MAP_FAILED) { state = NULL; return NOT_FOUND; }
    return OK;
}

static double clock_now(Device *d) {
    double most = d->v[SM_LOCK] > 0 ? fmin(d->v[SM_LOCK], d->v[SM_MHZ]) : d->v[SM_MHZ];
    if (d->v[SM_APPLICATION] > 0) most = fmin(most, d->v[SM_APPLICATION]);
    double dynamic = d->v[LOAD] * (d->v[FULL_W] - d->v[IDLE_W]);
    double allowed = d->v[LIMIT_W] - d->v[IDLE_W];
    if (dynamic <= 0) return fmin(most, 0.2 * d->v[SM_MHZ]);
    double share = most / d->v[SM_MHZ];
    if (dynamic * share * share > allowed) share = sqrt(fmax(allowed, 0.01) / dynamic);
    return share * d->v[SM_MHZ];
}

static double watts_now(Device *d) {
    if (d->v[SM_MHZ] <= 0) return 0; /* still being described */
    double share = clock_now(d) / d->v[SM_MHZ];
    return d->v[IDLE_W] + d->v[LOAD] * (d->v[FULL_W] - d->v[IDLE_W]) * share * share;
}

static double joules_at(Device *d, double at) {
    long i = d->n - 1;
    while (i > 0 && i > d->n - SEGMENTS + 1 && d->segment[i % SEGMENTS].at > at) i--;
    Segment s = d->segment[i % SEGMENTS];
    return s.joules + s.watts * fmax(0, at - s.at);
}

/* Begin a new segment of constant power; called after every change of load, cap or clock. */
static void changed(Device *d) {
    double at = now();
    Segment next = { at, watts_now(d), d->n ? joules_at(d, at) : 0 };
    d->segment[d->n % SEGMENTS] = next;
    d->n++;
}

/* Which instance a handle is of; -1 for a device's own handle. */
static long instance_at(void *handle) {
    Instance *first = &state->instance[0][0], *i = handle;
    return state && i >= first && i < first + MOST * MOST_INSTANCES ? i - first : -1;
}
static Instance *instance_of(void *handle) { return instance_at(handle) < 0 ? NULL : handle; }
static Device *parent_of(void *handle) {
    long at = instance_at(handle);
    return at < 0 ? handle : &state->device[at / MOST_INSTANCES];
}

static double renewed(Device *d) {
    double period = d->v[UPDATE_S];
    return period > 0 ? floor(now() / period) * period : now();
}

static int enter(Device *d) {
    if (!state || !users) return UNINITIALIZED;
    if (instance_at(d) >= 0) return NOT_SUPPORTED; /* as of power, energy, clocks, temperature, links */
    if (d < state->device || d >= state->device + state->count) return INVALID_ARGUMENT;
    flock(file, LOCK_EX);
    d->v[CALLS]++;
    int result = OK;
    if (d->v[LOST_AT] > 0 && now() >= d->v[LOST_AT]) result = LOST;
    else if (d->v[FAIL_EVERY] > 0 && fmod(d->v[CALLS], d->v[FAIL_EVERY]) == 0) result = UNKNOWN;
    if (result) flock(file, LOCK_UN);
    return result;
}

static int leave(int result) { flock(file, LOCK_UN); return result; }

#define ENTER(d) do { int r = enter(d); if (r) return r; } while (0)
/* For what an instance tells of itself: its device answers, or does not. */
#define ENTER_ANY(d) ENTER(parent_of(d))

/* For tests, called from Python. */
int fake_create(int count) {
    int r = map_state();
    if (r) return r;
    memset(state, 0, sizeof(State));
    state->count = count;
    return OK;
}
void fake_set(int index, int place, double value) {
    if (map_state()) return;
    flock(file, LOCK_EX);
    Device *d = &state->device[index];
    d->v[place] = value;
    changed(d);
    flock(file, LOCK_UN);
}
void fake_instance(int index, int number, int gi, int ci, int slices, double memory_used, double pid, int is_hidden) {
    if (map_state()) return;
    Instance made = { gi, ci, slices, is_hidden, memory_used, pid };
    state->instance[index][number] = made;
}
double fake_get(int index, int place) { return map_state() ? -1 : state->device[index].v[place]; }
double fake_joules(int index, double at) {
    if (map_state()) return -1;
    flock(file, LOCK_EX);
    double j = joules_at(&state->device[index], at);
    flock(file, LOCK_UN);
    return j;
}

/* Add or remove this process as a user of the driver. Without any, a device without persistence mode is let go of,
 * and its limits with it. */
static void use(int is_user) {
    int others = 0, place = -1;
    flock(file, LOCK_EX);
    for (int i = 0; i < MOST_USERS; i++) {
        int *user = &state->user[i];
        if (*user == getpid() || (*user && kill(*user, 0))) *user = 0;
        if (*user) others++;
        else place = i;
    }
    for (int i = 0; i < state->count && !others; i++) {
        Device *d = &state->device[i];
        if (d->v[IS_PERSISTENT] > 0) continue;
        d->v[LIMIT_W] = d->v[DEFAULT_W];
        d->v[SM_LOCK] = d->v[MEMORY_LOCK] = 0;
        changed(d);
    }
    if (is_user && place >= 0) state->user[place] = getpid();
    flock(file, LOCK_UN);
}
int nvmlInitWithFlags(unsigned flags) {
    int r = map_state();
    if (!r && !users++) use(1);
    return r;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) {
    if (users && !--users) use(0);
    return OK;
}
const char *nvmlErrorString(int r) {
    switch (r) {
        case INVALID_ARGUMENT: return "Invalid Argument";
        case NOT_SUPPORTED: return "Not Supported";
        case NO_PERMISSION: return "Insufficient Permissions";
        case NOT_FOUND: return "Not Found";
        case LOST: return "GPU is lost";
        default: return "Unknown Error";
    }
}
int nvmlSystemGetDriverVersion(char *text, unsigned n) { snprintf(text, n, "999.fake"); return OK; }
int nvmlDeviceGetCount_v2(unsigned *n) { if (!state) return UNINITIALIZED; *n = state->count; return OK; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, Device **d) {
    if (!state || i >= (unsigned)state->count) return INVALID_ARGUMENT;
    if (state->device[i].v[IS_HIDDEN] > 0) return NO_PERMISSION;
    *d = &state->device[i];
    return OK;
}
static int index_of(Device *d) { return (int)(d - state->device); }
int nvmlDeviceGetIndex(Device *d, unsigned *i) {
    ENTER_ANY(d);
    *i = instance_of(d) ? instance_at(d) % MOST_INSTANCES : index_of(d);
    return leave(OK);
}
static void name_uuid(Device *d, char *text, unsigned n) {
    const char *node = getenv("SLURMD_NODENAME");
    snprintf(text, n, "GPU-fa4e0000-0000-0000-%04x-%012d", node ? node[0] : 0, index_of(d));
}
int nvmlDeviceGetUUID(Device *d, char *text, unsigned n) {
    ENTER_ANY(d);
    Instance *i = instance_of(d);
    Device *parent = parent_of(d);
    char whole[80];
    name_uuid(parent, whole, sizeof whole);
    if (!i) snprintf(text, n, "%s", whole);
    else if (parent->v[IS_BEFORE_R470] > 0) snprintf(text, n, "MIG-%s/%d/%d", whole, i->gi, i->ci);
    else snprintf(text, n, "MIG-fa4e0000-0000-0000-%04x-%012ld", index_of(parent), instance_at(d) % MOST_INSTANCES);
    return leave(OK);
}
int nvmlDeviceGetName(Device *d, char *text, unsigned n) {
    ENTER_ANY(d);
    Instance *i = instance_of(d);
    int kind = (int)parent_of(d)->v[KIND];
    char of[32] = "";
    if (i) snprintf(of, sizeof of, " MIG %dg.%dgb", i->slices, 10 * i->slices);
    if (kind < 0) snprintf(text, n, "\xff\xfe GPU%s", of); /* not UTF-8, as under WSL */
    else if (kind) snprintf(text, n, "Fake GPU %d (no hardware)%s", kind, of);
    else snprintf(text, n, "Fake GPU (no hardware)%s", of);
    return leave(OK);
}
int nvmlDeviceGetPowerUsage(Device *d, unsigned *mw) {
    ENTER(d);
    double at = renewed(d), span = d->v[AVERAGE_S];
    double w = span > 0 ? (joules_at(d, at) - joules_at(d, at - span)) / span : watts_now(d);
    *mw = (unsigned)lround(w * 1e3);
    return leave(OK);
}
int nvmlDeviceGetUtilizationRates(Device *d, unsigned *both) {
    ENTER(d);
    if (d->v[IS_MIG] > 0) return leave(NOT_SUPPORTED);
    both[0] = (unsigned)lround(100 * d->v[LOAD]);
    both[1] = (unsigned)lround(50 * d->v[LOAD]);
    return leave(OK);
}
int nvmlDeviceGetMemoryInfo(Device *d, unsigned long long *m) {
    ENTER_ANY(d);
    Instance *i = instance_of(d);
    /* all instances together: only for who may see them all */
    if (!i && d->v[IS_MIG] > 0) return leave(NO_PERMISSION);
    m[0] = i ? (10ull << 30) * i->slices : 80ull << 30;
    m[2] = (unsigned long long)(i ? i->memory_used : d->v[MEMORY_USED]);
    m[1] = m[0] - m[2];
    return leave(OK);
}
int nvmlDeviceGetTemperature(Device *d, int sensor, unsigned *c) { ENTER(d); *c = d->v[TEMPERATURE]; return leave(OK); }
int nvmlDeviceGetCurrentClocksThrottleReasons(Device *d, unsigned long long *bits) {
    ENTER(d);
    *bits = (unsigned long long)d->v[THROTTLE];
    if (d->v[LOAD] > 0 && watts_now(d) >= d->v[LIMIT_W] - 1e-6) *bits |= 4;
    return leave(OK);
}
int nvmlDeviceGetClockInfo(Device *d, int kind, unsigned *mhz) {
    ENTER(d);
    double memory = d->v[MEMORY_LOCK] > 0 ? fmin(d->v[MEMORY_LOCK], d->v[MEMORY_MHZ]) : d->v[MEMORY_MHZ];
    *mhz = (unsigned)lround(kind == 2 ? memory : clock_now(d));
    return leave(OK);
}
int nvmlDeviceGetMaxClockInfo(Device *d, int kind, unsigned *mhz) {
    ENTER(d);
    *mhz = (unsigned)(kind == 2 ? d->v[MEMORY_MHZ] : d->v[SM_MHZ]);
    return leave(OK);
}
int nvmlDeviceGetSupportedMemoryClocks(Device *d, unsigned *n, unsigned *mhz) {
    ENTER(d);
    if (*n < 2) { *n = 2; return leave(INSUFFICIENT_SIZE); }
    *n = 2;
    mhz[0] = (unsigned)d->v[MEMORY_MHZ];
    mhz[1] = (unsigned)d->v[MEMORY_MHZ] / 2;
    return leave(OK);
}
int nvmlDeviceGetSupportedGraphicsClocks(Device *d, unsigned memory, unsigned *n, unsigned *mhz) {
    ENTER(d);
    if (*n < 10) { *n = 10; return leave(INSUFFICIENT_SIZE); }
    *n = 10;
    for (int i = 0; i < 10; i++) mhz[i] = (unsigned)(d->v[SM_MHZ] * (10 - i) / 10);
    return leave(OK);
}
int nvmlDeviceGetPowerManagementLimit(Device *d, unsigned *mw) { ENTER(d); *mw = lround(d->v[LIMIT_W] * 1e3); return leave(OK); }
int nvmlDeviceGetEnforcedPowerLimit(Device *d, unsigned *mw) { ENTER(d); *mw = lround(d->v[LIMIT_W] * 1e3); return leave(OK); }
int nvmlDeviceGetPowerManagementDefaultLimit(Device *d, unsigned *mw) { ENTER(d); *mw = lround(d->v[DEFAULT_W] * 1e3); return leave(OK); }
int nvmlDeviceGetPowerManagementLimitConstraints(Device *d, unsigned *low, unsigned *high) {
    ENTER(d);
    *low = lround(d->v[LOW_W] * 1e3);
    *high = lround(d->v[HIGH_W] * 1e3);
    return leave(OK);
}
/* Bytes sent since the machine started, of one of several links (link 1 twice as many as link 0, and so on); half
 * as many were received. The shift lets a test have a counter fall. */
static unsigned long long link_bytes(Device *d, int link, int received) {
    double all = (d->v[LINK_RATE] * now() + d->v[BYTES_SHIFT]) / (received ? 2 : 1);
    double n = d->v[LINKS];
    return (unsigned long long)(link < 0 ? all : all * (link + 1) / (n * (n + 1) / 2));
}
int nvmlDeviceGetNvLinkState(Device *d, unsigned link, unsigned *active) {
    ENTER(d);
    if (link >= d->v[LINKS]) return leave(d->v[LINKS] > 0 ? INVALID_ARGUMENT : NOT_SUPPORTED);
    *active = 1;
    return leave(OK);
}
int nvmlDeviceGetNvLinkUtilizationControl(Device *d, unsigned link, unsigned counter, unsigned *control) {
    ENTER(d);
    if (link >= d->v[LINKS] || d->v[LINK_WAY] < OLD_COUNTERS) return leave(NOT_SUPPORTED);
    control[0] = d->v[LINK_WAY] == OLD_COUNTERS ? 2 : 1;
    control[1] = 255;
    return leave(OK);
}
int nvmlDeviceGetNvLinkUtilizationCounter(Device *d, unsigned link, unsigned counter, unsigned long long *rx,
                                          unsigned long long *tx) {
    ENTER(d);
    if (link >= d->v[LINKS] || d->v[LINK_WAY] < OLD_COUNTERS) return leave(NOT_SUPPORTED);
    *rx = link_bytes(d, link, 1);
    *tx = link_bytes(d, link, 0);
    return leave(OK);
}
int nvmlDeviceGetApplicationsClock(Device *d, int kind, unsigned *mhz) {
    ENTER(d);
    double clock = d->v[kind == 2 ? MEMORY_APPLICATION : SM_APPLICATION];
    if (clock <= 0) return leave(NOT_SUPPORTED);
    *mhz = (unsigned)lround(clock);
    return leave(OK);
}
static int set(Device *d, int place, double value) {
    if (d->v[MAY_SET] <= 0) return NO_PERMISSION;
    d->v[SETS]++;
    if (d->v[IGNORES_SETS] <= 0) { d->v[place] = value; changed(d); }
    return OK;
}
int nvmlDeviceSetPowerManagementLimit(Device *d, unsigned mw) {
    ENTER(d);
    if (mw * 1e-3 < d->v[LOW_W] || mw * 1e-3 > d->v[HIGH_W]) return leave(INVALID_ARGUMENT);
    return leave(set(d, LIMIT_W, mw * 1e-3));
}
int nvmlDeviceSetGpuLockedClocks(Device *d, unsigned low, unsigned high) { ENTER(d); return leave(set(d, SM_LOCK, high)); }
int nvmlDeviceResetGpuLockedClocks(Device *d) { ENTER(d); return leave(set(d, SM_LOCK, 0)); }
int nvmlDeviceSetMemoryLockedClocks(Device *d, unsigned low, unsigned high) { ENTER(d); return leave(set(d, MEMORY_LOCK, high)); }
int nvmlDeviceResetMemoryLockedClocks(Device *d) { ENTER(d); return leave(set(d, MEMORY_LOCK, 0)); }

#ifndef OLD_DRIVER
int nvmlDeviceGetTotalEnergyConsumption(Device *d, unsigned long long *mj) {
    ENTER(d);
    if (d->v[HAS_COUNTER] <= 0) return leave(NOT_SUPPORTED);
    *mj = (unsigned long long)llround(fmax(0, joules_at(d, renewed(d)) + d->v[COUNTER_SHIFT_J]) * 1e3);
    return leave(OK);
}
typedef struct { unsigned id, scope; long long stamp, latency; int kind, result; unsigned long long value; } Field;
static void bytes_field(Device *d, Field *f) {
    int way = (int)d->v[LINK_WAY], is_all = f->scope == 0xFFFFFFFFu, link = is_all ? -1 : (int)f->scope;
    unsigned long long value = 0;
    if (f->id == 91) { f->result = OK; f->value = (unsigned)d->v[LINKS]; return; }
    if ((f->id == 197 || f->id == 198) && d->v[PCIE_RATE] > 0)
        value = (unsigned long long)(d->v[PCIE_RATE] * now() / (f->id == 198 ? 2 : 1));
    else if (link >= d->v[LINKS] || d->v[LINKS] <= 0) return;
    else if ((f->id == 138 || f->id == 139) && (way == SUMMED ? is_all : way == BY_LINK && !is_all))
        value = link_bytes(d, link, f->id == 139) >> 10;
    else if ((f->id == 202 || f->id == 204) && way == NEWER && !is_all) value = link_bytes(d, link, f->id == 204);
    else return;
    f->result = OK;
    f->kind = 3;
    f->value = value;
}
int nvmlDeviceGetFieldValues(Device *d, int n, Field *f) {
    ENTER(d);
    for (int i = 0; i < n; i++) {
        f[i].result = NOT_SUPPORTED;
        f[i].kind = 1;
        if (f[i].id == 186 && d->v[HAS_INSTANT] > 0) { f[i].result = OK; f[i].value = (unsigned)lround(watts_now(d) * 1e3); }
        else bytes_field(d, &f[i]);
    }
    return leave(OK);
}
typedef struct { unsigned pid; unsigned long long memory; unsigned instance, compute; } Process;
int nvmlDeviceGetComputeRunningProcesses_v3(Device *d, unsigned *n, Process *p) {
    ENTER_ANY(d);
    Instance *i = instance_of(d);
    if (!i && d->v[IS_MIG] > 0) return leave(NO_PERMISSION);
    unsigned pid = (unsigned)(i ? i->pid : d->v[OTHER_PID]);
    if (!pid) { *n = 0; return leave(OK); }
    if (*n < 1) { *n = 1; return leave(INSUFFICIENT_SIZE); }
    *n = 1;
    memset(p, 0, sizeof *p);
    p->pid = pid;
    return leave(OK);
}
int nvmlDeviceGetMigMode(Device *d, unsigned *current, unsigned *pending) {
    ENTER(d);
    if (d->v[IS_MIG] < 0) return leave(NOT_SUPPORTED);
    *current = *pending = d->v[IS_MIG] > 0;
    return leave(OK);
}
int nvmlDeviceGetMaxMigDeviceCount(Device *d, unsigned *n) {
    ENTER(d);
    *n = d->v[IS_MIG] > 0 ? MOST_INSTANCES : 0;
    return leave(OK);
}
int nvmlDeviceGetMigDeviceHandleByIndex(Device *d, unsigned number, Instance **found) {
    ENTER(d);
    if (number >= MOST_INSTANCES) return leave(INVALID_ARGUMENT);
    Instance *i = &state->instance[index_of(d)][number];
    if (d->v[IS_MIG] <= 0 || !i->slices || i->is_hidden) return leave(NOT_FOUND);
    *found = i;
    return leave(OK);
}
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Device *d, Device **parent) {
    if (!instance_of(d)) return INVALID_ARGUMENT;
    *parent = parent_of(d);
    return OK;
}
int nvmlDeviceGetGpuInstanceId(Device *d, unsigned *id) {
    if (!instance_of(d)) return INVALID_ARGUMENT;
    *id = instance_of(d)->gi;
    return OK;
}
int nvmlDeviceGetComputeInstanceId(Device *d, unsigned *id) {
    if (!instance_of(d)) return INVALID_ARGUMENT;
    *id = instance_of(d)->ci;
    return OK;
}
typedef struct { unsigned sm, copy, decoder, encoder, jpeg, ofa, gi_slices, ci_slices; unsigned long long mib; } Attributes;
int nvmlDeviceGetAttributes_v2(Device *d, Attributes *a) {
    ENTER_ANY(d);
    Instance *i = instance_of(d);
    if (!i) return leave(INVALID_ARGUMENT);
    memset(a, 0, sizeof *a);
    a->gi_slices = a->ci_slices = i->slices;
    a->sm = 14 * i->slices;
    a->mib = (10ull << 10) * i->slices;
    return leave(OK);
}
#endif
