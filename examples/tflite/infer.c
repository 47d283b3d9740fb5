/*
 * infer runs a TensorFlow Lite model on an input that is always the same, and says what came out.
 *
 *   infer [--rounds N] MODEL   prints the model's tensors and, for each output, its sum and a hash
 *                              of its bytes; with N > 1 also the median and the least time of N runs
 *   infer --serve MODEL        reads counts from its standard input, a line each, runs the model as
 *                              often, and answers with the nanoseconds of one run, the median
 *
 * It is an ordinary program: nothing in it knows of enclaves.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tensorflow/lite/c/c_api.h"

enum { MOST_ROUNDS = 1000000 };

static void die(const char *what, const char *of) {
	fprintf(stderr, "infer: %s: %s\n", of, what);
	exit(1);
}

/* pattern is a number in [0, 1) that depends on i alone (Knuth's multiplicative hash, 24 bits). */
static float pattern(size_t i) {
	return (float)((uint32_t)i * UINT32_C(2654435761) >> 8) / (float)(1 << 24);
}

static void fill(TfLiteTensor *input, const char *name) {
	float *to = TfLiteTensorData(input);
	if (TfLiteTensorType(input) != kTfLiteFloat32 || to == NULL)
		die("an input is not of 32-bit floats", name);
	for (size_t i = 0; i < TfLiteTensorByteSize(input) / sizeof *to; i++)
		to[i] = pattern(i);
}

static void describe(const char *role, const TfLiteTensor *t) {
	printf("%s %s [", role, TfLiteTensorName(t));
	for (int32_t d = 0; d < TfLiteTensorNumDims(t); d++)
		printf("%s%" PRId32, d > 0 ? "x" : "", TfLiteTensorDim(t, d));
	printf("]");
}

/* show prints an output: the sum for people, FNV-1a over the bytes to compare to the last bit. */
static void show(const TfLiteTensor *output, const char *name) {
	const float *values = TfLiteTensorData(output);
	size_t size = TfLiteTensorByteSize(output);
	if (TfLiteTensorType(output) != kTfLiteFloat32 || values == NULL)
		die("an output is not of 32-bit floats", name);
	double sum = 0;
	for (size_t i = 0; i < size / sizeof *values; i++)
		sum += values[i];
	uint64_t hash = UINT64_C(14695981039346656037);
	for (size_t i = 0; i < size; i++)
		hash = (hash ^ ((const unsigned char *)values)[i]) * UINT64_C(1099511628211);
	describe("output", output);
	printf(" sum %.6f bits %016" PRIx64 "\n", sum, hash);
}

static int64_t now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int later(const void *a, const void *b) {
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

/* measure runs the model and leaves the times in took, in nanoseconds, the shortest first. */
static void measure(TfLiteInterpreter *model, int64_t *took, long rounds, const char *name) {
	for (long i = 0; i < rounds; i++) {
		int64_t began = now();
		if (TfLiteInterpreterInvoke(model) != kTfLiteOk)
			die("the model does not run", name);
		took[i] = now() - began;
	}
	qsort(took, (size_t)rounds, sizeof *took, later);
}

static long count(const char *text) {
	char *end;
	long n = strtol(text, &end, 10);
	if (end == text || (*end != '\0' && *end != '\n') || n < 1 || n > MOST_ROUNDS)
		die("is not a number from 1 to 1000000", text);
	return n;
}

static void serve(TfLiteInterpreter *model, int64_t *took, const char *name) {
	char line[32];
	while (fgets(line, sizeof line, stdin) != NULL) {
		long rounds = count(line);
		measure(model, took, rounds, name);
		printf("%" PRId64 "\n", took[rounds / 2]);
		fflush(stdout);
	}
}

int main(int argc, char **argv) {
	long rounds = 1;
	int serving = 0, at = 1;
	for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
		if (strcmp(argv[at], "--serve") == 0)
			serving = 1;
		else if (strcmp(argv[at], "--rounds") == 0 && at + 1 < argc)
			rounds = count(argv[++at]);
		else
			break;
	}
	if (at + 1 != argc) {
		fprintf(stderr, "usage: infer [--rounds N] [--serve] MODEL\n");
		return 2;
	}
	const char *name = argv[at];
	TfLiteModel *file = TfLiteModelCreateFromFile(name);
	if (file == NULL)
		die("no such model, or not one of TensorFlow Lite", name);
	TfLiteInterpreterOptions *options = TfLiteInterpreterOptionsCreate();
	TfLiteInterpreterOptionsSetNumThreads(options, 1); /* so that the answer has one order of sums */
	TfLiteInterpreter *model = TfLiteInterpreterCreate(file, options);
	if (model == NULL || TfLiteInterpreterAllocateTensors(model) != kTfLiteOk)
		die("the model cannot be loaded", name);
	for (int32_t i = 0; i < TfLiteInterpreterGetInputTensorCount(model); i++)
		fill(TfLiteInterpreterGetInputTensor(model, i), name);

	int64_t *took = calloc(serving ? MOST_ROUNDS : (size_t)rounds, sizeof *took);
	if (took == NULL)
		die("out of memory", name);
	if (serving) {
		serve(model, took, name);
		return 0;
	}
	measure(model, took, rounds, name);
	printf("TensorFlow Lite %s\n", TfLiteVersion());
	for (int32_t i = 0; i < TfLiteInterpreterGetInputTensorCount(model); i++) {
		describe("input", TfLiteInterpreterGetInputTensor(model, i));
		printf("\n");
	}
	for (int32_t i = 0; i < TfLiteInterpreterGetOutputTensorCount(model); i++)
		show(TfLiteInterpreterGetOutputTensor(model, i), name);
	if (rounds > 1)
		printf("median %.3f ms, least %.3f ms of %ld\n", (double)took[rounds / 2] / 1e6,
			(double)took[0] / 1e6, rounds);
	return fflush(stdout) == 0 ? 0 : 1;
}
