// A program over go-nsq that publishes the lines of a file, or consumes a number of messages.
// It knows the client library and nothing of the broker behind it; the tests read its last line.
package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"sync"
	"time"

	"github.com/nsqio/go-nsq"
)

func main() {
	if len(os.Args) < 2 {
		log.Fatal("say publish or consume")
	}
	switch os.Args[1] {
	case "publish":
		publish(os.Args[2:])
	case "consume":
		consume(os.Args[2:])
	default:
		log.Fatalf("say publish or consume, not %q", os.Args[1])
	}
}

// publish sends every line of a file as one message and ends when the last is acknowledged.
func publish(arguments []string) {
	flags := flag.NewFlagSet("publish", flag.ExitOnError)
	nsqd := flags.String("nsqd", "", "host:port of the broker")
	topic := flags.String("topic", "", "topic")
	file := flags.String("file", "", "its lines are the messages")
	mode := flags.String("mode", "mpub", "pub or mpub")
	batch := flags.Int("batch", 200, "messages in one MPUB")
	pipeline := flags.Int("pipeline", 64, "commands that may wait for their answer")
	layers := layersOf(flags)
	must(flags.Parse(arguments))

	content, err := os.ReadFile(*file)
	must(err)
	lines := bytes.Split(bytes.TrimSuffix(content, []byte("\n")), []byte("\n"))
	config := nsq.NewConfig()
	layers.apply(config)
	producer, err := nsq.NewProducer(*nsqd, config)
	must(err)
	producer.SetLoggerLevel(nsq.LogLevelError)

	answers := make(chan *nsq.ProducerTransaction, *pipeline)
	waiting := 0
	settle := func() {
		must((<-answers).Error)
		waiting--
	}
	for len(lines) > 0 {
		if waiting == *pipeline {
			settle()
		}
		if *mode == "pub" {
			must(producer.PublishAsync(*topic, lines[0], answers))
			lines = lines[1:]
		} else {
			taken := min(*batch, len(lines))
			must(producer.MultiPublishAsync(*topic, lines[:taken], answers))
			lines = lines[taken:]
		}
		waiting++
	}
	for waiting > 0 {
		settle()
	}
	producer.Stop()
}

// layers is what lies between the library and its socket.
type layers struct {
	ca      *string
	snappy  *bool
	deflate *bool
}

func layersOf(flags *flag.FlagSet) layers {
	return layers{
		flags.String("tls-ca", "", "TLS, with a broker whose certificate this authority has signed"),
		flags.Bool("snappy", false, "snappy"),
		flags.Bool("deflate", false, "deflate"),
	}
}

func (l layers) apply(config *nsq.Config) {
	// By themselves both are a second, and TLS has to be agreed upon within that of the write.
	config.DialTimeout = time.Minute
	config.WriteTimeout = time.Minute
	if *l.ca != "" {
		must(config.Set("tls_v1", true))
		must(config.Set("tls_root_ca_file", *l.ca))
	}
	config.Snappy = *l.snappy
	config.Deflate = *l.deflate
}

// harvest is what all consumers of this process have received together.
type harvest struct {
	lock       sync.Mutex
	finished   [][]byte
	seen       map[string]bool
	fresh      int
	deliveries int
	requeued   int
	timedOut   int
	complete   chan struct{}
}

// consume finishes messages until a number of distinct ones has come, then writes them to a file.
func consume(arguments []string) {
	flags := flag.NewFlagSet("consume", flag.ExitOnError)
	nsqd := flags.String("nsqd", "", "host:port of the broker")
	lookupd := flags.String("lookupd", "", "host:port of nsqlookupd's HTTP side, in place of --nsqd")
	topic := flags.String("topic", "", "topic")
	channel := flags.String("channel", "", "channel")
	count := flags.Int("count", 0, "distinct messages to wait for")
	output := flags.String("output", "", "file for the bodies, one a line")
	consumers := flags.Int("consumers", 1, "consumers, each with a connection of its own")
	inFlight := flags.Int("max-in-flight", 200, "RDY of each consumer")
	requeueEvery := flags.Int("requeue-every", 0, "REQ every so many first deliveries, 0 = none")
	timeoutEvery := flags.Int("timeout-every", 0, "leave every so many first deliveries unanswered, 0 = none")
	msgTimeout := flags.Int("msg-timeout-ms", 0, "msg_timeout to ask for, 0 = the broker's")
	layers := layersOf(flags)
	must(flags.Parse(arguments))

	got := &harvest{seen: map[string]bool{}, complete: make(chan struct{})}
	handler := nsq.HandlerFunc(func(message *nsq.Message) error {
		message.DisableAutoResponse()
		got.lock.Lock()
		defer got.lock.Unlock()
		got.deliveries++
		if message.Attempts == 1 {
			got.fresh++
			if *requeueEvery > 0 && got.fresh%*requeueEvery == 0 {
				got.requeued++
				message.RequeueWithoutBackoff(100 * time.Millisecond)
				return nil
			}
			if *timeoutEvery > 0 && got.fresh%*timeoutEvery == 0 {
				got.timedOut++
				return nil
			}
		}
		message.Finish()
		got.finished = append(got.finished, message.Body)
		got.seen[string(message.Body)] = true
		if len(got.seen) == *count {
			select {
			case <-got.complete:
			default:
				close(got.complete)
			}
		}
		return nil
	})

	var running []*nsq.Consumer
	for range *consumers {
		config := nsq.NewConfig()
		config.MaxInFlight = *inFlight
		config.MaxAttempts = 0
		config.MsgTimeout = time.Duration(*msgTimeout) * time.Millisecond
		config.LookupdPollInterval = 500 * time.Millisecond
		layers.apply(config)
		consumer, err := nsq.NewConsumer(*topic, *channel, config)
		must(err)
		consumer.SetLoggerLevel(nsq.LogLevelError)
		consumer.AddHandler(handler)
		if *lookupd != "" {
			must(consumer.ConnectToNSQLookupd(*lookupd))
		} else {
			must(consumer.ConnectToNSQD(*nsqd))
		}
		running = append(running, consumer)
	}
	<-got.complete
	// A message that was left unanswered still counts as in flight in the client, which would wait
	// half a minute for it: the answers given so far are out long before this limit.
	enough, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for _, consumer := range running {
		consumer.Stop()
	}
	for _, consumer := range running {
		select {
		case <-consumer.StopChan:
		case <-enough.Done():
		}
	}

	got.lock.Lock()
	defer got.lock.Unlock()
	file, err := os.Create(*output)
	must(err)
	writer := bufio.NewWriter(file)
	for _, body := range got.finished {
		_, err := writer.Write(append(body, '\n'))
		must(err)
	}
	must(writer.Flush())
	must(file.Close())
	fmt.Printf("finished=%d deliveries=%d requeued=%d timed_out=%d\n",
		len(got.finished), got.deliveries, got.requeued, got.timedOut)
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
