/*
 * bytes.h
 *	  A few bytes, as many together as a processor takes: to call memcmp() for a code takes longer than to compare it.
 */
#ifndef OMNICHANNEL_BYTES_H
#define OMNICHANNEL_BYTES_H

/* Returns eight bytes, in whatever order the processor has. */
static inline uint64
eight_bytes(const char *bytes)
{
	uint64 word;

	memcpy(&word, bytes, sizeof(word));
	return word;
}

/* Returns up to seven bytes as a number, another one for others of the same length. */
static inline uint64
few_bytes(const char *bytes, uint32 length)
{
	uint32 low;
	uint32 high;

	if (length >= 4)
	{
		memcpy(&low, bytes, sizeof(low));
		memcpy(&high, bytes + length - sizeof(high), sizeof(high));
		return (uint64) high << 32 | low;
	}
	if (length == 0)
		return 0;
	return (uint64) (unsigned char) bytes[0] << 16 | (uint64) (unsigned char) bytes[length / 2] << 8 |
		   (unsigned char) bytes[length - 1];
}

/* Returns whether so many bytes at two places are the same. */
static inline bool
bytes_equal(const char *a, const char *b, uint32 length)
{
	if (length > 16)
		return memcmp(a, b, length) == 0;
	if (length < 8)
		return few_bytes(a, length) == few_bytes(b, length);
	return eight_bytes(a) == eight_bytes(b) && eight_bytes(a + length - 8) == eight_bytes(b + length - 8);
}

/* Copies so many bytes from one place to another that does not meet it. */
static inline void
bytes_copy(char *to, const char *from, Size length)
{
	if (length > 16)
		memcpy(to, from, length);
	else if (length >= 8)
	{
		/* They may overlap, and so may those of four bytes. */
		uint64 first = eight_bytes(from);
		uint64 last = eight_bytes(from + length - 8);

		memcpy(to, &first, 8);
		memcpy(to + length - 8, &last, 8);
	}
	else if (length >= 4)
	{
		memcpy(to + length - 4, from + length - 4, 4);
		memcpy(to, from, 4);
	}
	else
		for (Size i = 0; i < length; i++)
			to[i] = from[i];
}

#endif /* OMNICHANNEL_BYTES_H */
