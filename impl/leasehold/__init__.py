"""leasehold: is a durable agent runtime store right? An oracle, two reference stores, and the command line."""

__version__ = "0.1.0"
