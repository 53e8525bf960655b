"""OFREP, the OpenFeature Remote Evaluation Protocol (github.com/open-feature/protocol, version 0.3), for SDK keys."""
