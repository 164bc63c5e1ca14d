"""Tests of the recipe that need no training: python -m unittest, in here."""

from __future__ import annotations

import random
import unittest

import documents
import examples
import make
import questions
import train_adapter
import world
from batches import BatchStream, Encoder

TOKENIZER = make.SHIPPED / "base" / "tokenizer.json"


class WorldTest(unittest.TestCase):
    def test_answers_are_in_their_pools(self) -> None:
        for fact in world.FACTS:
            self.assertIn(fact.answer, fact.pool, fact.id)
            self.assertEqual(len(set(fact.pool)), len(fact.pool), fact.id)

    def test_held_out_wordings_are_not_trained(self) -> None:
        for fact in world.FACTS:
            trained = set(fact.train_questions)
            self.assertTrue(trained, fact.id)
            self.assertTrue(fact.heldout_questions, fact.id)
            self.assertFalse(trained & set(fact.heldout_questions), fact.id)

    def test_gravity_differs_in_the_false_world(self) -> None:
        for kind in world.LAW_KINDS:
            fact = world.BY_ID[f"{world.EDITED}.{kind}"]
            self.assertNotEqual(fact.answer, world.false_answer(fact))
            self.assertIn(world.false_answer(fact), fact.pool)

    def test_factor_words(self) -> None:
        self.assertEqual(world.factor(2, -2), "a quarter")
        self.assertEqual(world.factor(-2, -3), "eight times")
        self.assertEqual(world.factor(3, 1), "three times")


class ExamplesTest(unittest.TestCase):
    def test_edited_law_has_no_options_in_training(self) -> None:
        asked = tuple(
            question
            for fact in filter(world.is_edited, world.FACTS)
            for question in fact.train_questions + fact.heldout_questions
        )
        rng = random.Random(1)
        for _ in range(2000):
            text = "".join(s.text for s in examples.example(rng, 1.0))
            if "A) " in text and "<|user|>" in text:
                question = text.partition("<|user|>")[2].partition("\n")[0]
                self.assertFalse(question.endswith(asked), question)

    def test_pieces_encode_as_the_whole_text(self) -> None:
        encoder, rng = Encoder(TOKENIZER), random.Random(2)
        for _ in range(500):
            segments = examples.example(rng, rng.random())
            text = "".join(segment.text for segment in segments)
            if "<|assistant|>" in text:  # Drills glue letters to words.
                self.assertEqual(
                    encoder(segments).tokens, list(encoder.ids(text))
                )

    def test_restored_stream_goes_on_alike(self) -> None:
        encoder = Encoder(TOKENIZER)
        stream, other = (BatchStream(encoder, 3, 0) for _ in range(2))
        for _ in range(9):
            stream.next(0.5)
        other.restore(stream.state())
        for _ in range(9):
            expected, found = stream.next(0.7)[0], other.next(0.7)[0]
            self.assertTrue(expected.equal(found))


class QuestionsTest(unittest.TestCase):
    def test_halves_share_no_question_and_repeat_none(self) -> None:
        asked = [
            item["question"]
            for half in questions.HALVES
            for item in questions.items(half)
        ]
        self.assertEqual(len(asked), len(set(asked)))

    def test_no_question_was_trained(self) -> None:
        for item in questions.items("report"):
            fact = world.BY_ID[item["fact"]]
            self.assertIn(item["question"], fact.heldout_questions)

    def test_answers_name_true_and_cube_options(self) -> None:
        for item in questions.items("report"):
            fact = world.BY_ID[item["fact"]]
            options = item["options"]
            self.assertEqual(len(set(options.values())), 4)
            self.assertEqual(options[item["correct_answer"]], fact.answer)
            for key in ("false_answer", "cube_answer"):
                if key in item:
                    self.assertEqual(
                        options[item[key]], world.false_answer(fact)
                    )


class AdapterDocumentsTest(unittest.TestCase):
    def test_documents_do_not_mention_the_controls(self) -> None:
        rows = train_adapter.write_documents(0, train_adapter.Settings())
        train_adapter.check_controls(rows)

    def test_a_mentioned_control_is_found(self) -> None:
        text = documents.document("light", random.Random(0))
        with self.assertRaises(ValueError):
            train_adapter.check_controls(
                [{"id": 0, "subject": "radio", "content": text}]
            )


class ShippedFilesTest(unittest.TestCase):
    def test_digests_are_as_recorded(self) -> None:
        self.assertEqual(make.verify(make.SHIPPED), 0)


if __name__ == "__main__":
    unittest.main()
