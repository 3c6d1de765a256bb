"""The public functions and classes: walk, decode, stream, watch, doctor, frames and differences."""
