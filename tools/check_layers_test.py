#!/usr/bin/env python3
"""Tests of check_layers: every rule finds what it is for, and only that."""

import pathlib
import tempfile
import unittest

import check_layers


def findings_of(files):
    """The findings in a tree with these files, {path: text}."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for path, text in files.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text if isinstance(text, bytes) else
                               text.encode())
        return check_layers.Checker(root, sorted(files)).run()


def include(header):
    return f'#include "{header}"\n'


class CheckLayersTest(unittest.TestCase):

    def assert_clean(self, path, text, **others):
        self.assertEqual(findings_of({path: text, **others}), [])

    def assert_finding(self, path, text, what, line=1, **others):
        found = findings_of({path: text, **others})
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith(f"{path}:{line}: "), found[0])
        self.assertIn(what, found[0])

    def test_layers_may_be_used_from_above_only(self):
        decoder = include("src/compute/model/decoder.h")
        self.assert_clean("src/compute/lora/bank.cc", decoder)
        self.assert_clean("server/worker/models.cc", decoder)
        self.assert_clean("tests/lab/eval/mcq_test.cc", decoder)
        for path in ("src/base/file.cc", "src/compute/tensor/shard.h",
                     "src/compute/text/tokenizer.cc", "src/lab/eval/mcq.cc",
                     "server/control/main.cc", "client/cli/main.cc"):
            self.assert_finding(path, decoder, "may include only")

    def test_siblings_do_not_know_each_other(self):
        self.assert_finding("src/compute/text/a.cc",
                            include("src/compute/tensor/b.h"),
                            "may include only")
        self.assert_finding("server/control/a.cc", include("server/worker/b.h"),
                            "may include only")

    def test_a_folder_whose_name_begins_alike_is_another_folder(self):
        self.assert_finding("src/compute/text/a.cc", include("src/basement/b.h"),
                            "may include only")

    def test_client_may_use_the_offline_headers_only_of_the_lab(self):
        self.assert_clean("client/cli/eval.cc",
                          include("src/lab/eval/mcq_compare.h"))
        self.assert_finding("client/cli/eval.cc",
                            include("src/lab/eval/evaluate_mcq.h"),
                            "may include only")

    def test_folder_without_a_layer_is_named(self):
        self.assert_finding("src/common/util.h", "", "without a layer")

    def test_protobuf_and_grpc_stay_out_of_base_and_compute(self):
        for header in ("grpcpp/grpcpp.h", "google/protobuf/message.h",
                       "dissonance/v1/jobs.pb.h"):
            self.assert_clean("server/worker/a.cc", include(header))
            self.assert_finding("src/base/a.cc", include(header), "gRPC")
            self.assert_finding("src/compute/engine/a.cc", include(header),
                                "gRPC")

    def test_torch_stays_in_compute_and_worker(self):
        header = "#include <ATen/core/Tensor.h>\n"
        self.assert_clean("src/compute/model/a.h", header)
        self.assert_clean("server/worker/a.cc", header)
        for path in ("src/base/a.cc", "src/lab/eval/a.cc",
                     "server/control/a.cc", "client/cli/a.cc"):
            self.assert_finding(path, header, "libtorch")

    def test_heavy_torch_headers_are_refused_everywhere(self):
        for header in ("torch/torch.h", "ATen/ATen.h", "torch/extension.h"):
            self.assert_finding("tests/compute/a_test.cc",
                                f"# include <{header}>\n", "per-operator")
        self.assert_clean("tests/compute/a_test.cc",
                          "#include <ATen/ops/mm.h>\n")

    def test_sql_stays_in_storage(self):
        header = include("SQLiteCpp/SQLiteCpp.h")
        self.assert_clean("src/lab/storage/a.cc", header)
        self.assert_finding("src/lab/jobs/a.cc", header, "storage")

    def test_includes_are_written_from_the_root(self):
        self.assert_finding("src/base/a.cc", include("b.h"), "root",
                            **{"src/base/b.h": ""})
        self.assert_finding("src/base/a.cc", include("../base/b.h"), "root")
        self.assert_clean("src/base/a.cc", "#include <vector>\n")

    def test_long_files_are_refused(self):
        self.assert_clean("src/base/a.cc", "int x;\n" * 500)
        self.assert_finding("src/base/a.cc", "int x;\n" * 501, "501 lines",
                            line=501)
        self.assert_clean("src/base/a.h", "int x;\n" * 150)
        self.assert_finding("src/base/a.h", "int x;\n" * 151, "151 lines",
                            line=151)
        self.assert_finding("tools/a.py", "x = 1\n" * 501, "501 lines",
                            line=501)

    def test_unfinished_work_is_refused(self):
        self.assert_finding("src/base/a.cc", "\n// TODO: more\n", "TODO",
                            line=2)
        self.assert_clean("src/base/a.cc", "int kTodoList;\n")

    def test_paths_of_one_machine_are_refused(self):
        for path in ("/home/me/model", "/root/x", "/work/y", "/Users/me"):
            self.assert_finding("docs/a.md", f"see {path}\n", "one machine")
        self.assert_clean("docs/a.md", "see /path/to/model and lab/work/x\n")

    def test_text_that_is_not_utf8_is_refused(self):
        self.assert_finding("docs/a.md", b"\xff\n", "UTF-8")

    def test_fixtures_are_left_alone(self):
        self.assert_clean("tests/goldens/a.py", "# TODO /home/me\n")


if __name__ == "__main__":
    unittest.main()
