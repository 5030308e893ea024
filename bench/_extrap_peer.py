"""Forecast with Extra-P.

Reads ``[[sizes, values, next size], …]`` as JSON from standard input and prints one forecast for
each. It runs in the environment where `extrap` is installed.
"""

import json
import sys

from extrap.entities.callpath import Callpath
from extrap.entities.coordinate import Coordinate
from extrap.entities.experiment import Experiment
from extrap.entities.measurement import Measurement
from extrap.entities.metric import Metric
from extrap.entities.parameter import Parameter
from extrap.modelers.model_generator import ModelGenerator


def forecast(sizes: list[float], values: list[float], at: float) -> float:
    """Return Extra-P's value at one size from the values at other sizes."""
    experiment = Experiment()
    experiment.add_parameter(Parameter("N"))
    callpath, metric = Callpath("run"), Metric("value")
    experiment.add_callpath(callpath)
    experiment.add_metric(metric)
    for size, value in zip(sizes, values, strict=True):
        coordinate = Coordinate(size)
        experiment.add_coordinate(coordinate)
        experiment.add_measurement(Measurement(coordinate, callpath, metric, [value]))
    generator = ModelGenerator(experiment)
    # with its defaults it returns a constant: strong scaling needs negative exponents, and
    # published families have fewer than the five points that it requires
    generator.modeler.allow_negative_exponents = True
    generator.modeler.min_measurement_points = 3
    generator.model_all()
    model = generator.models[(callpath, metric)]
    return float(model.hypothesis.function.evaluate(at))


print(json.dumps([forecast(*case) for case in json.load(sys.stdin)]))
