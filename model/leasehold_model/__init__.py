"""The contract as a pure state machine. Start with `state`, then one concept per page, then `machine`."""
