/*
 * prefetch.h
 *	  Memory asked for before it is needed, so that several waits for it become one.
 */
#ifndef OMNICHANNEL_PREFETCH_H
#define OMNICHANNEL_PREFETCH_H

/* Bytes that a processor fetches at a time. */
#define MEMORY_LINE 64

/* Asks for the memory at an address. */
static inline void
prefetch(const void *address)
{
#ifdef __GNUC__
	__builtin_prefetch(address);
#endif
}

/* Asks for so many bytes from an address on, which are to be written. */
static inline void
prefetch_to_write(const char *address, Size size)
{
#ifdef __GNUC__
	for (const char *line = address; line < address + size; line += MEMORY_LINE)
		__builtin_prefetch(line, 1);
#endif
}

#endif /* OMNICHANNEL_PREFETCH_H */
