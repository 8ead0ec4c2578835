"""Recurrent networks in torch, built from an architecture."""

from sparrot.nn.builder import Encoder as Encoder
from sparrot.nn.builder import Front as Front
from sparrot.nn.builder import Predictor as Predictor
from sparrot.nn.builder import build_architecture as build_architecture
from sparrot.nn.half_shrink import shrink_half as shrink_half
from sparrot.nn.network import CtcNetwork as CtcNetwork
from sparrot.nn.network import Network as Network
from sparrot.nn.transducer import TransducerNetwork as TransducerNetwork
from sparrot.nn.transducer_loss import edge_log_probs as edge_log_probs
from sparrot.nn.transducer_loss import lattice_divergence as lattice_divergence
from sparrot.nn.transducer_loss import rnnt_loss as rnnt_loss
from sparrot.nn.transducer_loss import transducer_loss as transducer_loss
from sparrot.nn.transducer_reference import rnnt_loss_by_rows as rnnt_loss_by_rows
