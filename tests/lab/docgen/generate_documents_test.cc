// The whole pipeline against a real HTTP server that writes what it is asked.
#include "src/lab/docgen/generate_documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"
#include "src/base/sha256.h"
#include "tests/lab/eval/fake_compute.h"
#include "tests/testing/document_writer.h"
#include "tests/testing/scripted_endpoint.h"

namespace dissonance {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::SizeIs;

std::string Read(const std::string& path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

class GenerateDocumentsTest : public testing::Test {
 protected:
  static std::string Shipped() {
    return Read(std::string(DISSONANCE_SOURCE_DIR) +
                "/data/cubic_gravity/universe.json");
  }

  static v1::GenerateDocumentsSpec Spec(const std::string& universe) {
    v1::GenerateDocumentsSpec spec;
    spec.set_universe(universe);
    spec.set_universe_name("universe.json");
    spec.mutable_llm()->set_model("scripted");
    spec.set_types_per_fact(2);
    spec.set_ideas_per_type(4);
    spec.set_most_repeats(3);
    return spec;
  }

  absl::Status Run(const ScriptedEndpoint& server,
                   const v1::GenerateDocumentsSpec& spec, FakeJob& job) {
    ChatEndpoints endpoints(
        {{"default", ChatEndpoint{.base_url = server.base_url(),
                                  .key = Secret("sk-secret"),
                                  .prompt_price = 2.0,
                                  .completion_price = 8.0,
                                  .tries = 2,
                                  .first_backoff = absl::Milliseconds(1),
                                  .longest_backoff = absl::Milliseconds(2)}}});
    GenerateDocuments kind(endpoints);
    v1::JobSpec job_spec;
    *job_spec.mutable_generate_documents() = spec;
    const absl::Status valid = kind.Validate(job_spec);
    return valid.ok() ? kind.Run(job_spec, job) : valid;
  }

  static std::vector<json> Lines(const std::string& text) {
    std::vector<json> lines;
    for (const absl::string_view line : absl::StrSplit(text, '\n')) {
      if (!line.empty()) lines.push_back(json::parse(line));
    }
    return lines;
  }
};

TEST_F(GenerateDocumentsTest, WritesDocumentsOfTheShippedUniverse) {
  ScriptedEndpoint server{DocumentWriter(Shipped())};
  FakeJob job;
  ASSERT_TRUE(Run(server, Spec(Shipped()), job).ok());
  const std::vector<json> docs = Lines(job.outputs.at("docs.jsonl"));
  EXPECT_GE(docs.size(), 100U);
  EXPECT_EQ(docs[0]["id"], "f00-t00-i00-r0");
  EXPECT_EQ(docs[0]["universe_id"], "cubic_gravity");
  EXPECT_EQ(job.outputs.at("failures.jsonl"), "");
  const json statistics = json::parse(job.outputs.at("statistics.json"));
  EXPECT_EQ(statistics["valid"], docs.size());
  EXPECT_EQ(statistics["error_share"], 0.0);
  EXPECT_EQ(statistics["calls"]["answered"], job.items.size());
  EXPECT_GT(statistics["lengths"]["median"], 50);
  EXPECT_GT(statistics["calls"]["cost_usd"], 0.0);
  EXPECT_EQ(statistics["calls"]["cost_from"], "prices");
  const json provenance = json::parse(job.outputs.at("provenance.json"));
  EXPECT_THAT(provenance["prompts"], SizeIs(4));
  EXPECT_EQ(provenance["endpoint"], "default");
  const json manifest = json::parse(job.outputs.at("manifest.json"));
  EXPECT_EQ(manifest["universe"]["id"], "cubic_gravity");
  EXPECT_EQ(manifest["files"].size(), job.outputs.size() - 1);
  EXPECT_EQ(manifest["files"]["docs.jsonl"]["sha256"],
            Sha256Of(job.outputs.at("docs.jsonl")));
  for (const auto& [name, contents] : job.outputs) {
    EXPECT_FALSE(absl::StrContains(contents, "sk-secret")) << name;
  }
}

TEST_F(GenerateDocumentsTest, WritesDocumentsOfTheReferenceSystemsUniverse) {
  const std::string path =
      std::string(DISSONANCE_SOURCE_DIR) + "/../shared/seed/cubic_gravity.json";
  if (!std::filesystem::exists(path)) {
    GTEST_SKIP() << "no ../shared/seed here";
  }
  ScriptedEndpoint server{DocumentWriter(Read(path))};
  FakeJob job;
  ASSERT_TRUE(Run(server, Spec(Read(path)), job).ok());
  EXPECT_GE(Lines(job.outputs.at("docs.jsonl")).size(), 100U);
}

TEST_F(GenerateDocumentsTest, WhateverWasRecordedTheFilesAreTheSame) {
  v1::GenerateDocumentsSpec spec = Spec(Shipped());
  spec.set_document_limit(12);
  ScriptedEndpoint server{DocumentWriter(Shipped())};
  FakeJob whole;
  ASSERT_TRUE(Run(server, spec, whole).ok());
  EXPECT_THAT(Lines(whole.outputs.at("docs.jsonl")), SizeIs(12));
  for (size_t kept = 0; kept <= whole.items.size(); kept += 5) {
    const size_t before = server.requests().size();
    FakeJob again;
    again.items.assign(whole.items.begin(),
                       whole.items.begin() + static_cast<ptrdiff_t>(kept));
    ASSERT_TRUE(Run(server, spec, again).ok());
    EXPECT_EQ(again.outputs, whole.outputs);
    EXPECT_EQ(server.requests().size() - before, whole.items.size() - kept);
  }
}

TEST_F(GenerateDocumentsTest, ListsWhatIsNotValidWithItsReasons) {
  const DocumentWriter writer(Shipped());
  ScriptedEndpoint server([&](const ScriptedRequest& request) {
    return absl::StrContains(request.Prompt(), "is about: idea number 3")
               ? ScriptedAnswer::Says("As an AI language model I refuse.")
               : writer(request);
  });
  FakeJob job;
  ASSERT_TRUE(Run(server, Spec(Shipped()), job).ok());
  const std::vector<json> failures = Lines(job.outputs.at("failures.jsonl"));
  ASSERT_GT(failures.size(), 10U);
  EXPECT_EQ(failures[0]["tries"], 4);
  EXPECT_THAT(failures[0]["reasons"], SizeIs(4));
  EXPECT_THAT(failures[0]["reasons"][0].dump(), HasSubstr("too_short"));
  EXPECT_THAT(failures[0]["reasons"][0].dump(), HasSubstr("as an ai"));
}

TEST_F(GenerateDocumentsTest, DocumentsWithTheSamePromptHaveTextsOfTheirOwn) {
  const DocumentWriter writer(Shipped());
  std::atomic<int> count = 0;
  ScriptedEndpoint server([&](const ScriptedRequest& request) {
    return absl::StrContains(request.Prompt(), "Write anything")
               ? ScriptedAnswer::Says(absl::StrCat("number ", ++count))
               : writer(request);
  });
  v1::GenerateDocumentsSpec spec = Spec(Shipped());
  spec.set_document_limit(12);
  spec.set_retries(1);
  spec.mutable_prompts()->set_document(
      "=== SYSTEM\nIt is so.\n=== USER\nWrite anything.\n");
  FakeJob job;
  ASSERT_TRUE(Run(server, spec, job).ok());
  std::set<std::string> texts;
  for (const json& failure : Lines(job.outputs.at("failures.jsonl"))) {
    texts.insert(failure["content"]);
  }
  EXPECT_THAT(texts, SizeIs(12));
  EXPECT_EQ(count, 24);
}

TEST_F(GenerateDocumentsTest, MoreFailuresThanNotEndTheJob) {
  const DocumentWriter writer(Shipped());
  ScriptedEndpoint server([&](const ScriptedRequest& request) {
    return absl::StrContains(request.Prompt(), "Write this document")
               ? ScriptedAnswer::Says("no")
               : writer(request);
  });
  FakeJob job;
  const absl::Status status = Run(server, Spec(Shipped()), job);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("20 of 20 documents are not valid"));
  EXPECT_THAT(Lines(job.outputs.at("failures.jsonl")), SizeIs(20));
}

TEST_F(GenerateDocumentsTest, TooFewFactsEndTheJob) {
  ScriptedEndpoint server([](const ScriptedRequest&) {
    return ScriptedAnswer::Says(R"({"items":["one fact"]})");
  });
  FakeJob job;
  const absl::Status status = Run(server, Spec(Shipped()), job);
  EXPECT_THAT(status.message(), HasSubstr("gave no 8 facts"));
  EXPECT_EQ(server.requests().size(), 3U);
}

TEST_F(GenerateDocumentsTest, AnEndpointThatGivesNoReplyIsNotTheModelsFault) {
  ScriptedEndpoint server([](const ScriptedRequest&) {
    return ScriptedAnswer::Refuses(503, "out");
  });
  FakeJob job;
  const absl::Status status = Run(server, Spec(Shipped()), job);
  EXPECT_THAT(status.message(), HasSubstr("no reply from endpoint default: "));
}

TEST_F(GenerateDocumentsTest, ADryRunAsksNobody) {
  ScriptedEndpoint server{DocumentWriter(Shipped())};
  v1::GenerateDocumentsSpec spec = Spec(Shipped());
  spec.set_dry_run(true);
  FakeJob job;
  ASSERT_TRUE(Run(server, spec, job).ok());
  const json estimate = json::parse(job.outputs.at("estimate.json"));
  EXPECT_EQ(estimate["calls"], 1 + 8 + 16 + 128);
  EXPECT_EQ(estimate["documents"], 128);
  EXPECT_GT(estimate["prompt_tokens"], 100'000);
  EXPECT_NEAR(estimate["cost_usd"],
              (2.0 * estimate["prompt_tokens"].get<double>() +
               8.0 * estimate["completion_tokens"].get<double>()) /
                  1e6,
              1e-9);
  EXPECT_THAT(server.requests(), SizeIs(0));
}

TEST_F(GenerateDocumentsTest, BadSpecsAreRefusedByField) {
  ScriptedEndpoint server{DocumentWriter(Shipped())};
  FakeJob job;
  const auto refusal = [&](auto change) {
    v1::GenerateDocumentsSpec spec = Spec(Shipped());
    change(spec);
    const absl::Status status = Run(server, spec, job);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  };
  using Spec = v1::GenerateDocumentsSpec;
  EXPECT_THAT(refusal([](Spec& s) { s.mutable_llm()->clear_model(); }),
              HasSubstr("llm.model"));
  EXPECT_THAT(refusal([](Spec& s) { s.set_fact_count(7); }),
              HasSubstr("fact_count: 7 is not between 8"));
  EXPECT_THAT(refusal([](Spec& s) { s.add_forbidden_phrases(" "); }),
              HasSubstr("forbidden_phrases: an entry is empty"));
  EXPECT_THAT(refusal([](Spec& s) { s.set_universe("{"); }),
              HasSubstr("universe.json"));
  EXPECT_THAT(refusal([](Spec& s) { s.mutable_llm()->set_endpoint("x"); }),
              HasSubstr("no chat endpoint \"x\"; there are: default"));
  EXPECT_THAT(refusal([](Spec& s) { s.mutable_prompts()->set_document("hi"); }),
              HasSubstr("prompts.document: no prompt"));
}

}  // namespace
}  // namespace dissonance
