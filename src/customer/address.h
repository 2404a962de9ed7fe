/*
 * address.h
 *	  Telephone numbers and e-mail addresses in the one form in which they are compared. UTF-8; no server needed.
 */
#ifndef OMNICHANNEL_ADDRESS_H
#define OMNICHANNEL_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

/* How a country writes its telephone numbers; lengths are those of national numbers without the trunk prefix. */
typedef struct NumberingPlan
{
	const char *country;
	const char *code;
	const char *trunk;
	const char *international;
	int shortest;
	int longest;
} NumberingPlan;

extern const NumberingPlan *numbering_plan(const char *country);

/* E.164: at most 15 digits, here with the plus and the final NUL. */
#define PHONE_SIZE 17

extern const char *phone_normalise(const char *text, size_t length, const NumberingPlan *home, char *phone);

/* RFC 5321: a local part of 64 bytes, the at sign, a domain of 255 bytes. */
#define EMAIL_MAX 320

/* Room for one, and the final NUL. */
#define EMAIL_SIZE (EMAIL_MAX + 1)

extern const char *email_address(const char *text, size_t length, char *email);

extern void text_trim(const char *text, size_t *start, size_t *end);

#endif /* OMNICHANNEL_ADDRESS_H */
