# go-nsq's own script, which starts nsqlookupd and nsqd by name; all it needs is there already.
export GOPROXY=off GOFLAGS=-mod=mod
exec bash test.sh
