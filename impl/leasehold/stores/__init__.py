"""The stores that come with leasehold. Each is written from the contract alone, and imports nothing of the model."""
