/*
 * driver.c
 *	  Feeds a fuzz target with its corpus, then with mutations of it: the same ones in every run.
 *
 * usage: TARGET RUNS CORPUS_FILE...
 *
 * A target defines LLVMFuzzerTestOneInput(), so that libFuzzer can drive it as well. The input at hand is printed, as a
 * C string, when a sanitizer or a failed check ends the program, and when one input takes longer than HANG_SECONDS.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sanitizer/common_interface_defs.h>

#include "fuzz.h"

#define MAX_INPUT 65536
#define MAX_SHOWN 4096
#define HANG_SECONDS 10

typedef struct Input
{
	uint8_t *bytes;
	size_t size;
} Input;

static const uint8_t *current;
static size_t current_size;

static uint64_t random_state = UINT64_C(0x9E3779B97F4A7C15);

/* Returns a number below limit, which is not 0 (xorshift64*; the seed is fixed). */
static size_t
random_below(size_t limit)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (size_t) ((random_state * UINT64_C(0x2545F4914F6CDD1D)) >> 16) % limit;
}

/* Prints the input at hand to stderr. */
static void
show_current(void)
{
	size_t shown = current_size < MAX_SHOWN ? current_size : MAX_SHOWN;

	fprintf(stderr, "\ninput of %zu bytes:\n\"", current_size);
	for (size_t i = 0; i < shown; i++)
	{
		if (current[i] >= 0x20 && current[i] < 0x7F && current[i] != '"' && current[i] != '\\')
			fputc(current[i], stderr);
		else
			fprintf(stderr, "\\%03o", current[i]);
	}
	fprintf(stderr, "\"%s\n", shown < current_size ? " ..." : "");
}

/* Ends the program for an abort() or a hang: not in the way of a signal handler, but there is nothing left to lose. */
static void
die(int signal_number)
{
	fprintf(stderr, signal_number == SIGALRM ? "one input took more than %d s\n" : "aborted\n", HANG_SECONDS);
	show_current();
	_exit(1);
}

/* Runs the target on a copy of exactly that size, so that a read past its end is seen. */
static void
run(const uint8_t *bytes, size_t size)
{
	uint8_t *exact = malloc(size > 0 ? size : 1);

	if (exact == NULL)
		abort();
	memcpy(exact, bytes, size);
	current = exact;
	current_size = size;
	alarm(HANG_SECONDS);
	(void) LLVMFuzzerTestOneInput(exact, size);
	current_size = 0;
	free(exact);
}

/* Reads a file, at most MAX_INPUT bytes of it; ends the program where it cannot. */
static Input
read_input(const char *path)
{
	Input input = {malloc(MAX_INPUT), 0};
	FILE *file = fopen(path, "rb");

	if (file == NULL || input.bytes == NULL)
	{
		fprintf(stderr, "could not read %s: %s\n", path, strerror(errno));
		exit(1);
	}
	input.size = fread(input.bytes, 1, MAX_INPUT, file);
	fclose(file);
	return input;
}

/* Puts size bytes at an offset, moving what stands there, as far as there is room. */
static void
insert(Input *input, size_t at, const uint8_t *bytes, size_t size)
{
	if (size > MAX_INPUT - input->size)
		size = MAX_INPUT - input->size;
	memmove(input->bytes + at + size, input->bytes + at, input->size - at);
	memcpy(input->bytes + at, bytes, size);
	input->size += size;
}

/* Changes the input in one of the ways that find mistakes in parsers; other is any input of the corpus. */
static void
mutate(Input *input, const Input *other)
{
	static const uint8_t telling[] = {0, 1, 9, 10, 32, '+', ',', '-', '.', '0', '9', ':', ';', 127, 128, 192, 255};
	static uint8_t piece[MAX_INPUT];
	size_t at = random_below(input->size + 1);
	size_t size;

	switch (random_below(7))
	{
		case 0: /* flip a bit */
			if (at < input->size)
				input->bytes[at] ^= (uint8_t) (1u << random_below(8));
			break;
		case 1: /* another byte */
			if (at < input->size)
				input->bytes[at] = telling[random_below(sizeof(telling))];
			break;
		case 2: /* one more byte */
			piece[0] = random_below(2) ? telling[random_below(sizeof(telling))] : (uint8_t) random_below(256);
			insert(input, at, piece, 1);
			break;
		case 3: /* take out */
			size = random_below(input->size - at + 1);
			if (random_below(2) && size > 4)
				size = 1 + random_below(4);
			memmove(input->bytes + at, input->bytes + at + size, input->size - at - size);
			input->size -= size;
			break;
		case 4: /* repeat a piece, perhaps often */
			size = random_below(input->size - at + 1);
			memcpy(piece, input->bytes + at, size);
			for (size_t times = random_below(16) == 0 ? 64 : 1; times > 0; times--)
				insert(input, at, piece, size);
			break;
		case 5: /* a piece of another input */
			if (other->size > 0)
			{
				size_t from = random_below(other->size);

				insert(input, at, other->bytes + from, 1 + random_below(other->size - from));
			}
			break;
		default: /* an extreme number */
			insert(input, at, (const uint8_t *) "99999999999999999999", 1 + random_below(20));
			break;
	}
}

int
main(int argc, char **argv)
{
	long runs = argc > 2 ? strtol(argv[1], NULL, 10) : 0;
	int n_inputs = argc - 2;
	Input *inputs;
	Input mutation = {malloc(MAX_INPUT), 0};

	if (runs <= 0 || mutation.bytes == NULL)
	{
		fprintf(stderr, "usage: %s RUNS CORPUS_FILE...\n", argv[0]);
		return 2;
	}
	inputs = calloc((size_t) n_inputs, sizeof(Input));
	if (inputs == NULL)
		return 2;

	__sanitizer_set_death_callback(show_current);
	signal(SIGALRM, die);
	signal(SIGABRT, die);

	run((const uint8_t *) "", 0);
	for (int i = 0; i < n_inputs; i++)
	{
		inputs[i] = read_input(argv[i + 2]);
		run(inputs[i].bytes, inputs[i].size);
	}

	for (long i = 0; i < runs; i++)
	{
		const Input *from = &inputs[random_below((size_t) n_inputs)];

		memcpy(mutation.bytes, from->bytes, from->size);
		mutation.size = from->size;
		for (size_t changes = 1 + random_below(6); changes > 0; changes--)
			mutate(&mutation, &inputs[random_below((size_t) n_inputs)]);
		run(mutation.bytes, mutation.size);
	}

	for (int i = 0; i < n_inputs; i++)
		free(inputs[i].bytes);
	free(inputs);
	free(mutation.bytes);
	return 0;
}
