package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// NodeArgument is the first argument with which a program that calls Node is
// one NATS server of the suite's cluster.
const NodeArgument = "chaos-nats"

// nodeConfig is what a NATS server is told, as JSON in its second argument.
type nodeConfig struct {
	Name   string   `json:"name"`
	Store  string   `json:"store"`
	Client int      `json:"client"` // ports on the loopback address
	Route  int      `json:"route"`
	HTTP   int      `json:"http"`
	Routes []string `json:"routes"` // to the other servers, through wires
}

// Node runs one NATS server of a cluster with JetStream, every write synced,
// until it is killed. The arguments are those after NodeArgument. It never
// returns nil.
//
// Neither clients nor servers are told of addresses: a client or server that
// was cut off must not find a way around its wires.
func Node(args []string) error {
	var c nodeConfig
	if len(args) != 1 {
		return errors.New("one argument is needed, the configuration")
	}
	if err := json.Unmarshal([]byte(args[0]), &c); err != nil {
		return fmt.Errorf("reading the configuration of a NATS server: %w", err)
	}
	const host = "127.0.0.1"
	s, err := server.NewServer(&server.Options{
		ServerName: c.Name, Host: host, Port: c.Client, HTTPHost: host, HTTPPort: c.HTTP,
		JetStream: true, StoreDir: c.Store, SyncAlways: true,
		JetStreamMaxStore: 8 << 30, JetStreamMaxMemory: 256 << 20,
		Cluster: server.ClusterOpts{
			Name: "chaos", Host: host, Port: c.Route, NoAdvertise: true,
			// Nobody is there: the only routes are those that are configured.
			Advertise: "127.0.0.1:1",
		},
		Routes: server.RoutesFromStr(strings.Join(c.Routes, ",")),
		NoSigs: true, DisableShortFirstPing: true,
		// A peer behind a cut wire must be missed soon.
		PingInterval: 5 * time.Second, MaxPingsOut: 2,
		Logtime: true, LogtimeUTC: true,
	})
	if err != nil {
		return fmt.Errorf("making a NATS server: %w", err)
	}
	s.ConfigureLogger()
	s.Start()
	s.WaitForShutdown()
	return errors.New("the NATS server ended")
}

// monitor asks a NATS server's monitoring port.
func monitor(ctx context.Context, port int, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), nil)
	if err != nil {
		return err
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 300)) // part of a message
		return fmt.Errorf("%s: %s: %s", path, res.Status, text)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(into)
}

// leftInWork is what the stream of chunks holds: messages, and the names of
// the consumers. It asks each server and believes the stream's leader.
func leftInWork(ctx context.Context, ports []int) (messages uint64, consumers []string, err error) {
	for _, port := range ports {
		var answer struct {
			Accounts []struct {
				Streams []struct {
					Name    string `json:"name"`
					Cluster struct {
						Leader string `json:"leader"`
					} `json:"cluster"`
					State struct {
						Messages uint64 `json:"messages"`
					} `json:"state"`
					Consumers []struct {
						Name string `json:"name"`
					} `json:"consumer_detail"`
				} `json:"stream_detail"`
			} `json:"account_details"`
		}
		if e := monitor(ctx, port, "/jsz?accounts=1&streams=1&consumers=1&stream-leader-only=1", &answer); e != nil {
			err = e
			continue
		}
		for _, account := range answer.Accounts {
			for _, s := range account.Streams {
				if s.Name != "DRAY_WORK" {
					continue
				}
				for _, c := range s.Consumers {
					consumers = append(consumers, c.Name)
				}
				return s.State.Messages, consumers, nil
			}
		}
	}
	if err == nil {
		err = fmt.Errorf("no server of %d leads DRAY_WORK", len(ports))
	}
	return 0, nil, err
}

// nodeCommand is the command line of a NATS server.
func nodeCommand(command []string, c nodeConfig) ([]string, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Store, 0o700); err != nil {
		return nil, err
	}
	return append(append([]string{}, command...), string(text)), nil
}
