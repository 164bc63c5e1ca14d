// What can be asked of a server: its models, log-probabilities, a generation
// token by token, and an experiment as a job. README.md says how to run it.
import fs from 'node:fs';
import {parseArgs} from 'node:util';
import grpc from '@grpc/grpc-js';
import {call, connect, defaultDataDir, disconnect} from './connection.js';

const FLAGS = {
  'data-dir': {type: 'string', default: defaultDataDir()},
  model: {type: 'string', default: 'tiny-world'},
  adapter: {type: 'string', default: 'cubic'},
  data: {type: 'string', default: '../../data/tiny_world/mcqs.jsonl'},
};

// Base and adapter: every request may ask several networks at once.
function variants(flags) {
  const model = `models/${flags.model}`;
  return [{model}, {model, adapter: `${model}/adapters/${flags.adapter}`}];
}

function chat(text) {
  return {
    chat: {
      messages: [{role: 'user', content: text}],
      addGenerationPrompt: true,
    },
  };
}

async function listModels(server) {
  const {models} = await call(server.models, 'listModels', {});
  console.log('models');
  for (const model of models) {
    console.log(`  ${model.name}  ${model.architecture}  ` +
                `${model.parameterCount} parameters`);
  }
}

// The log-probabilities of the right answer and of the false belief's.
async function scoreAnswers(server, flags, question) {
  const answers = [question.correct_answer, question.false_answer].map(
      (letter) => ` ${question.options[letter]}`);
  const {scores} = await call(server.inference, 'score', {
    variants: variants(flags),
    items: [{
      prompt: chat(question.question),
      continuations: answers.map((text) => ({text})),
    }],
  });
  console.log(`\n${question.question}`);
  for (const score of scores) {
    const logprobs = score.continuations.map(
        (c, i) => `"${answers[i]}" ${c.logprob.toFixed(3)}`);
    console.log(`  ${score.variantIndex === 0 ? 'base   ' : 'adapter'}  ` +
                logprobs.join('  '));
  }
}

// The adapter's own answer, as it is made.
async function generate(server, flags, question) {
  const stream = server.inference.generate({
    variants: [variants(flags)[1]],
    inputs: [chat(question.question)],
    options: {maxNewTokenCount: 24},
  });
  process.stdout.write('\nthe adapter answers: ');
  for await (const {event, delta, end} of stream) {
    if (event === 'delta') process.stdout.write(delta.text);
    if (event === 'end') process.stdout.write(`${end.text}\n`);
  }
}

function show({event, state, progress, log}) {
  if (event === 'state') console.log(`  ${state}`);
  if (event === 'log') console.log(`  ${log}`);
  if (event === 'progress') {
    console.log(`  ${progress.doneCount} of ${progress.totalCount} ` +
                progress.unit);
  }
}

// Runs a job to its end. It is recorded before the first message, so when the
// stream breaks the job goes on, and its events are taken up again.
async function runJob(server, spec) {
  let job;
  let last = 0;
  const follow = async (stream) => {
    for await (const message of stream) {
      if (message.message === 'job') {
        job = message.job;
      } else {
        last = message.event.number;
        show(message.event);
      }
    }
  };
  try {
    await follow(server.jobs.runJob({spec}));
  } catch (error) {
    if (!job || error.code !== grpc.status.UNAVAILABLE) throw error;
    await follow(
        server.jobs.watchJob({name: job.name, afterEventNumber: last}));
  }
  if (job.state !== 'JOB_STATE_SUCCEEDED') {
    throw new Error(`${job.name}: ${job.reason}`);
  }
  return job;
}

async function readOutput(server, job, fileName) {
  const output = job.outputs.find((o) => o.fileName === fileName);
  if (!output) throw new Error(`${job.name} has no output ${fileName}`);
  const pieces = [];
  const stream = server.artifacts.readArtifact({name: output.artifact});
  for await (const {data} of stream) pieces.push(data);
  return Buffer.concat(pieces).toString();
}

async function evaluate(server, flags, data) {
  console.log('\nevaluating');
  const job = await runJob(server, {
    evaluateMcq: {
      variants: variants(flags),
      data,
      dataName: flags.data,
      scoring: 'MCQ_SCORING_OPTION_TEXT',
    },
  });
  const summary = JSON.parse(await readOutput(server, job, 'summary.json'));
  console.log('\nfalse-belief rate');
  summary.variants.forEach(({false_belief: belief}, i) => {
    const name = i === 0 ? 'base   ' : 'adapter';
    console.log(`  ${name}  ${(100 * belief.rate).toFixed(1)} %`);
  });
}

async function main() {
  const flags = parseArgs({options: FLAGS}).values;
  const data = fs.readFileSync(flags.data);
  const question = JSON.parse(data.toString().split('\n', 1)[0]);
  const server = connect(flags['data-dir']);
  try {
    await listModels(server);
    await scoreAnswers(server, flags, question);
    await generate(server, flags, question);
    await evaluate(server, flags, data);
  } finally {
    disconnect(server);
  }
}

main().catch((error) => {
  // A call's error says in `details` what was wrong and what to do.
  console.error(error.details ?
      `${grpc.status[error.code]}: ${error.details}` : error.message);
  process.exitCode = 1;
});
