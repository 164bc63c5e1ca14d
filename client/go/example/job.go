package main

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "dissonance/v1"
)

// runJob runs a job to its end. It is recorded before the first message, so when
// the stream breaks the job goes on, and its events are taken up again.
func runJob(ctx context.Context, s *server, spec *pb.JobSpec) (*pb.Job, error) {
	var job *pb.Job
	var last int64
	take := func(update *pb.Job, event *pb.JobEvent) {
		if update != nil {
			job = update
		}
		if event != nil {
			last = event.Number
			show(event)
		}
	}
	err := start(ctx, s, spec, take)
	if job != nil && status.Code(err) == codes.Unavailable {
		err = follow(ctx, s, job.Name, last, take)
	}
	if err != nil {
		return nil, err
	}
	if job.State != pb.JobState_JOB_STATE_SUCCEEDED {
		return nil, fmt.Errorf("%s: %s", job.Name, job.Reason)
	}
	return job, nil
}

func start(ctx context.Context, s *server, spec *pb.JobSpec,
	take func(*pb.Job, *pb.JobEvent)) error {
	stream, err := s.jobs.RunJob(ctx, &pb.RunJobRequest{Spec: spec})
	if err != nil {
		return err
	}
	return receive[pb.RunJobResponse](stream, func(m *pb.RunJobResponse) {
		take(m.GetJob(), m.GetEvent())
	})
}

func follow(ctx context.Context, s *server, name string, after int64,
	take func(*pb.Job, *pb.JobEvent)) error {
	stream, err := s.jobs.WatchJob(ctx, &pb.WatchJobRequest{
		Name: name, AfterEventNumber: after})
	if err != nil {
		return err
	}
	return receive[pb.WatchJobResponse](stream, func(m *pb.WatchJobResponse) {
		take(m.GetJob(), m.GetEvent())
	})
}

func show(event *pb.JobEvent) {
	switch e := event.Event.(type) {
	case *pb.JobEvent_State:
		fmt.Printf("  %s\n", e.State)
	case *pb.JobEvent_Log:
		fmt.Printf("  %s\n", e.Log)
	case *pb.JobEvent_Progress:
		fmt.Printf("  %d of %d %s\n", e.Progress.DoneCount,
			e.Progress.TotalCount, e.Progress.Unit)
	}
}

// readOutput reads one of a job's files.
func readOutput(ctx context.Context, s *server, job *pb.Job, file string) (
	[]byte, error) {
	for _, output := range job.Outputs {
		if output.FileName == file {
			return readArtifact(ctx, s, output.Artifact)
		}
	}
	return nil, fmt.Errorf("%s has no output %s", job.Name, file)
}

func readArtifact(ctx context.Context, s *server, name string) ([]byte, error) {
	stream, err := s.artifacts.ReadArtifact(ctx,
		&pb.ReadArtifactRequest{Name: name})
	if err != nil {
		return nil, err
	}
	var bytes []byte
	err = receive[pb.ReadArtifactResponse](stream,
		func(m *pb.ReadArtifactResponse) { bytes = append(bytes, m.Data...) })
	return bytes, err
}
