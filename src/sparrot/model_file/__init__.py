"""The model file: its format, its writer and its reader."""

from sparrot.model_file.conversion import convert
from sparrot.model_file.description import Calibration, LevelDescription, Measured, ModelDescription, Stop
from sparrot.model_file.errors import FormatError
from sparrot.model_file.layout import MatrixLayout
from sparrot.model_file.reader import ModelFile, with_calibration, with_measured
from sparrot.model_file.stop_data import PieceData, StopData
from sparrot.model_file.storage import Storage, dtypes_of, layout_of_block
from sparrot.model_file.unnamed import Level
from sparrot.model_file.weight_types import WeightType
from sparrot.model_file.writer import LevelToWrite, write_model

__all__ = [
    "Calibration",
    "FormatError",
    "Level",
    "LevelDescription",
    "LevelToWrite",
    "MatrixLayout",
    "Measured",
    "ModelDescription",
    "ModelFile",
    "PieceData",
    "Stop",
    "StopData",
    "Storage",
    "WeightType",
    "convert",
    "dtypes_of",
    "layout_of_block",
    "with_calibration",
    "with_measured",
    "write_model",
]
