module leasehold-example

go 1.23
