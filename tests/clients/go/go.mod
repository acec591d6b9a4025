// go-nsq, unmodified, as a program that publishes and consumes.
module ringnsq/tests/clients/go

go 1.24

require github.com/nsqio/go-nsq v1.1.0

require github.com/golang/snappy v0.0.1 // indirect
