/*
 * fuzz.h
 *	  What the fuzz targets share.
 */
#ifndef OMNICHANNEL_FUZZ_H
#define OMNICHANNEL_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* What a target defines, for the driver or for libFuzzer. */
extern int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define TEXT_OF(number) #number
#define LINE_TEXT(number) TEXT_OF(number)

/* Ends the program unless the condition holds. PostgreSQL has an fprintf() of its own, which is not linked in. */
#define CHECK(condition)                                                                                               \
	do                                                                                                                 \
	{                                                                                                                  \
		if (!(condition))                                                                                              \
		{                                                                                                              \
			fputs("line " LINE_TEXT(__LINE__) ": " #condition "\n", stderr);                                           \
			abort();                                                                                                   \
		}                                                                                                              \
	} while (0)

#endif /* OMNICHANNEL_FUZZ_H */
