// Command example shows what can be asked of a server: its models,
// log-probabilities, a generation token by token, and an experiment as a job.
// README.md says how to run it.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"

	"google.golang.org/grpc/status"

	pb "dissonance/v1"
)

var (
	dataDir = flag.String("data-dir", defaultDataDir(),
		"the server's data directory")
	model   = flag.String("model", "tiny-world", "a loaded model")
	adapter = flag.String("adapter", "cubic", "one of its adapters")
	data    = flag.String("data", "../../data/tiny_world/mcqs.jsonl",
		"multiple-choice questions, JSON lines")
)

type question struct {
	Question      string
	Options       map[string]string
	CorrectAnswer string `json:"correct_answer"`
	FalseAnswer   string `json:"false_answer"`
}

// variants are base and adapter: every request may ask several networks at once.
func variants() []*pb.Variant {
	name := "models/" + *model
	return []*pb.Variant{
		{Model: name},
		{Model: name, Adapter: name + "/adapters/" + *adapter},
	}
}

func variantName(index int32) string {
	return [...]string{"base   ", "adapter"}[index]
}

func chat(text string) *pb.Input {
	return &pb.Input{Content: &pb.Input_Chat{Chat: &pb.Chat{
		Messages:            []*pb.ChatMessage{{Role: "user", Content: text}},
		AddGenerationPrompt: true,
	}}}
}

func listModels(ctx context.Context, s *server) error {
	response, err := s.models.ListModels(ctx, &pb.ListModelsRequest{})
	if err != nil {
		return err
	}
	fmt.Println("models")
	for _, m := range response.Models {
		fmt.Printf("  %s  %s  %d parameters\n", m.Name, m.Architecture,
			m.ParameterCount)
	}
	return nil
}

// scoreAnswers prints the log-probabilities of the right answer and of the false
// belief's.
func scoreAnswers(ctx context.Context, s *server, q question) error {
	answers := []string{" " + q.Options[q.CorrectAnswer],
		" " + q.Options[q.FalseAnswer]}
	item := &pb.ScoreItem{Prompt: chat(q.Question)}
	for _, answer := range answers {
		item.Continuations = append(item.Continuations, &pb.Continuation{
			Content: &pb.Continuation_Text{Text: answer}})
	}
	response, err := s.inference.Score(ctx, &pb.ScoreRequest{
		Variants: variants(), Items: []*pb.ScoreItem{item}})
	if err != nil {
		return err
	}
	fmt.Printf("\n%s\n", q.Question)
	for _, score := range response.Scores {
		fmt.Printf("  %s", variantName(score.VariantIndex))
		for i, continuation := range score.Continuations {
			fmt.Printf("  %q %.3f", answers[i], continuation.Logprob)
		}
		fmt.Println()
	}
	return nil
}

// generate prints the adapter's own answer, as it is made.
func generate(ctx context.Context, s *server, q question) error {
	stream, err := s.inference.Generate(ctx, &pb.GenerateRequest{
		Variants: variants()[1:],
		Inputs:   []*pb.Input{chat(q.Question)},
		Options:  &pb.GenerationOptions{MaxNewTokenCount: 24},
	})
	if err != nil {
		return err
	}
	fmt.Print("\nthe adapter answers: ")
	return receive[pb.GenerateResponse](stream, func(m *pb.GenerateResponse) {
		switch event := m.Event.(type) {
		case *pb.GenerateResponse_Delta:
			fmt.Print(event.Delta.Text)
		case *pb.GenerateResponse_End:
			fmt.Println(event.End.Text)
		}
	})
}

func evaluate(ctx context.Context, s *server, questions []byte) error {
	fmt.Println("\nevaluating")
	job, err := runJob(ctx, s, &pb.JobSpec{Kind: &pb.JobSpec_EvaluateMcq{
		EvaluateMcq: &pb.EvaluateMcqSpec{
			Variants: variants(),
			Data:     questions,
			DataName: *data,
			Scoring:  pb.McqScoring_MCQ_SCORING_OPTION_TEXT,
		}}})
	if err != nil {
		return err
	}
	text, err := readOutput(ctx, s, job, "summary.json")
	if err != nil {
		return err
	}
	var summary struct {
		Variants []struct {
			FalseBelief struct{ Rate float64 } `json:"false_belief"`
		}
	}
	if err := json.Unmarshal(text, &summary); err != nil {
		return err
	}
	fmt.Println("\nfalse-belief rate")
	for i, v := range summary.Variants {
		fmt.Printf("  %s  %.1f %%\n", variantName(int32(i)),
			100*v.FalseBelief.Rate)
	}
	return nil
}

func run(ctx context.Context) error {
	questions, err := os.ReadFile(*data)
	if err != nil {
		return err
	}
	var first question
	line, _, _ := bytes.Cut(questions, []byte("\n"))
	if err := json.Unmarshal(line, &first); err != nil {
		return fmt.Errorf("%s: %w", *data, err)
	}
	s, conn, err := connect(*dataDir)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := listModels(ctx, s); err != nil {
		return err
	}
	if err := scoreAnswers(ctx, s, first); err != nil {
		return err
	}
	if err := generate(ctx, s, first); err != nil {
		return err
	}
	return evaluate(ctx, s, questions)
}

func main() {
	flag.Parse()
	log.SetFlags(0)
	if err := run(context.Background()); err != nil {
		// A call's error says what was wrong and what to do.
		if call, ok := status.FromError(err); ok {
			log.Fatalf("%s: %s", call.Code(), call.Message())
		}
		log.Fatal(err)
	}
}
