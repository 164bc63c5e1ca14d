package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "dissonance/v1"
)

// server has the services of a Dissonance server on this machine.
type server struct {
	models    pb.ModelsClient
	inference pb.InferenceClient
	jobs      pb.JobsClient
	artifacts pb.ArtifactsClient
}

// bearer sends a token with every call.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (
	map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// The socket is for its user alone, so there is nothing to encrypt.
func (bearer) RequireTransportSecurity() bool { return false }

// connect opens the server of a data directory with its owner's token. Close the
// connection when done.
func connect(dataDir string) (*server, *grpc.ClientConn, error) {
	dataDir, err := filepath.Abs(dataDir)
	if err != nil {
		return nil, nil, err
	}
	token, err := os.ReadFile(filepath.Join(dataDir, "owner.token"))
	if err != nil {
		return nil, nil, err
	}
	conn, err := grpc.NewClient(
		"unix:"+filepath.Join(dataDir, "dissonance.sock"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(bearer(strings.TrimSpace(string(token)))),
		// A job comes with its spec, questions and all.
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return nil, nil, err
	}
	return &server{
		models:    pb.NewModelsClient(conn),
		inference: pb.NewInferenceClient(conn),
		jobs:      pb.NewJobsClient(conn),
		artifacts: pb.NewArtifactsClient(conn),
	}, conn, nil
}

// defaultDataDir is where the command line looks for a server, too.
func defaultDataDir() string {
	if dir := os.Getenv("DISSONANCE_DATA_DIR"); dir != "" {
		return dir
	}
	base := os.Getenv("XDG_DATA_HOME")
	if base == "" {
		base = filepath.Join(os.Getenv("HOME"), ".local", "share")
	}
	return filepath.Join(base, "dissonance")
}

// receiver is any stream from the server.
type receiver[M any] interface{ Recv() (*M, error) }

// receive hands every message of a stream to handle.
func receive[M any](stream receiver[M], handle func(*M)) error {
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		handle(message)
	}
}
