//! Built-in targets and antagonists: the parts of a node that must run at machine speed beside the replay engine.
