/*
 * address.c
 *	  Telephone numbers and e-mail addresses in the one form in which they are compared.
 *
 * Pure functions on bytes, so that they can be fuzzed without a server. Both say what is wrong instead of raising it.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "customer/address.h"

#define PHONE_DIGITS_MAX 15
#define PHONE_DIGITS_MIN 7
/* Digits as dialled: an international prefix and a carrier's code may stand before the number. */
#define DIALLED_MAX 32

/* Returns the bytes of the separator at text that people write inside numbers, or 0. */
static size_t
phone_separator(const char *text, const char *end)
{
	const unsigned char *byte = (const unsigned char *) text;

	if (strchr(" \t.-/()", *text) != NULL && *text != '\0')
		return 1;
	/* U+00A0 no-break space, U+2007 to U+2015 spaces and dashes, U+202F narrow space */
	if (end - text >= 2 && byte[0] == 0xC2 && byte[1] == 0xA0)
		return 2;
	if (end - text >= 3 && byte[0] == 0xE2 && byte[1] == 0x80 &&
		((byte[2] >= 0x87 && byte[2] <= 0x95) || byte[2] == 0xAF))
		return 3;
	return 0;
}

/* Returns the digits after prefix, or NULL where they do not begin with it or the prefix is empty. */
static const char *
after_prefix(const char *digits, const char *prefix)
{
	size_t length = strlen(prefix);

	return length > 0 && strncmp(digits, prefix, length) == 0 ? digits + length : NULL;
}

/* Returns whether digits can be a national number of the plan. */
static bool
is_national(const NumberingPlan *plan, const char *digits)
{
	int length = (int) strlen(digits);

	return length >= plan->shortest && length <= plan->longest;
}

/* Writes plus, code and digits; returns NULL, or what is wrong with their number. */
static const char *
phone_write(const char *code, const char *digits, char *phone)
{
	size_t length = strlen(code) + strlen(digits);

	if (length < PHONE_DIGITS_MIN)
		return "is too short for a telephone number";
	if (length > PHONE_DIGITS_MAX)
		return "is too long for a telephone number";
	if ((*code != '\0' ? *code : *digits) == '0')
		return "begins with a zero after its plus sign";
	snprintf(phone, PHONE_SIZE, "+%s%s", code, digits);
	return NULL;
}

/*
 * Returns what is wrong with the parameters of a tel URI (RFC 3966), or NULL: names that begin with a letter, each with
 * a value or none. Those of a number that is not global must not say where else it is one.
 */
static const char *
parameters_problem(const char *text, const char *end, bool global)
{
	static const char context[] = "phone-context=";

	while (text < end)
	{
		const char *name = ++text;

		if (!global && (size_t) (end - name) >= sizeof(context) - 1 &&
			strncasecmp(name, context, sizeof(context) - 1) == 0)
			return "is a local number, which holds in its phone-context only";
		while (text < end && ((*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
							  (text > name && ((*text >= '0' && *text <= '9') || *text == '-'))))
			text++;
		if (text == name || (text < end && *text != '=' && *text != ';'))
			return "has characters that are no part of a telephone number";
		if (text < end && *text == '=' && (++text == end || *text == ';'))
			return "has characters that are no part of a telephone number";
		while (text<end && * text> ' ' && *text < 0x7F && *text != ';')
			text++;
		if (text < end && *text != ';')
			return "has characters that are no part of a telephone number";
	}
	return NULL;
}

/*
 * phone_normalise writes the E.164 form of a number, +48601234567, into phone; returns NULL, or what is wrong.
 *
 * A number with a plus or the home country's international prefix (00 is understood everywhere) is international; any
 * other is one of the home country, whose trunk prefix is dropped. A number without either that is too long for home
 * but begins with home's calling code is international: so telephone exchanges write them. A zero in brackets after
 * the country's code, +49 (0) 30, is the trunk prefix too. Parameters behind it, as ;ext=12, are left out: an extension
 * is dialled after the number has answered, and E.164 knows nothing of it.
 */
const char *
phone_normalise(const char *text, size_t length, const NumberingPlan *home, char *phone)
{
	const char *end = text + length;
	char digits[DIALLED_MAX + 1];
	int count = 0;
	bool plus = false;
	const char *rest;

	if (length >= 4 && strncasecmp(text, "tel:", 4) == 0)
		text += 4;
	while (text < end)
	{
		size_t skipped;

		if (*text >= '0' && *text <= '9')
		{
			if (count == DIALLED_MAX)
				return "is too long for a telephone number";
			digits[count++] = *text++;
		}
		else if (*text == '+' && count == 0 && !plus)
		{
			plus = true;
			text++;
		}
		else if (end - text >= 3 && strncmp(text, "(0)", 3) == 0 && (plus || count > 0))
			text += 3;
		else if ((skipped = phone_separator(text, end)) > 0)
			text += skipped;
		else if (*text == ';' && count > 0)
		{
			const char *problem = parameters_problem(text, end, plus);

			if (problem != NULL)
				return problem;
			text = end;
		}
		else
			return "has characters that are no part of a telephone number";
	}
	digits[count] = '\0';

	if (plus)
		return phone_write("", digits, phone);
	if ((rest = after_prefix(digits, home->international)) != NULL || (rest = after_prefix(digits, "00")) != NULL)
		return phone_write("", rest, phone);
	if ((int) strlen(digits) > home->longest && (rest = after_prefix(digits, home->code)) != NULL &&
		is_national(home, rest))
		return phone_write(home->code, rest, phone);
	if ((rest = after_prefix(digits, home->trunk)) != NULL && (int) strlen(rest) >= home->shortest)
		return phone_write(home->code, rest, phone);
	return phone_write(home->code, digits, phone);
}

/*
 * domain_problem returns what is wrong with the part of an address behind its at sign, or NULL.
 *
 * It is names joined by dots, in any script, none of them empty or with a hyphen at an end; or an address in brackets.
 */
static const char *
domain_problem(const char *domain, size_t length)
{
	if (domain[0] == '[' && domain[length - 1] == ']')
		return NULL;
	for (size_t i = 0; i <= length; i++)
	{
		if (i < length && domain[i] != '.' && domain[i] != '-')
			continue;
		if ((i == 0 || domain[i - 1] == '.') || (i < length && domain[i] == '.' && domain[i - 1] == '-') ||
			(i == length && domain[i - 1] == '-'))
			return "is no e-mail address: a name in its domain is empty, or begins or ends with a hyphen";
	}
	return NULL;
}

/*
 * email_address finds the address in text, which may be a header's value: "Anna Nowak" <anna@example.com>.
 *
 * Sets start and end (offsets) and returns NULL, or what is wrong. It checks what any address has: a local part, in
 * quotes if it has an at sign itself, and a domain; whether mail arrives there nobody can tell from the text.
 */
const char *
email_address(const char *text, size_t length, size_t *start, size_t *end)
{
	size_t first = 0;
	size_t last = length;
	size_t at = 0;
	bool found = false;
	bool several = false;
	const char *problem;

	if (length > 0 && text[length - 1] == '>')
	{
		last = length - 1;
		for (first = last; first > 0 && text[first - 1] != '<'; first--)
			;
		if (first == 0)
			return "has a closing angle bracket only";
	}
	/* As often as it stands there: what is left must not be read otherwise. */
	for (;;)
	{
		if (first < last && text[first] == ' ')
			first++;
		else if (last - first >= 7 && strncasecmp(text + first, "mailto:", 7) == 0)
			first += 7;
		else
			break;
	}
	while (last > first && (text[last - 1] == ' ' || text[last - 1] == '.'))
		last--;

	if (last - first > EMAIL_MAX)
		return "is too long for an e-mail address";
	for (size_t i = first; i < last; i++)
	{
		unsigned char byte = (unsigned char) text[i];

		if (byte <= ' ' || byte == 0x7F || byte == '<' || byte == '>' || byte == ',' || byte == ';')
			return "has characters that are no part of an e-mail address";
		if (byte == '@')
		{
			several = found;
			found = true;
			at = i;
		}
	}
	if (!found)
		return "is no e-mail address: it has no at sign";
	if (at == first || at + 1 >= last)
		return "is no e-mail address: nothing stands on one side of its at sign";
	if (several && (text[first] != '"' || at - first < 2 || text[at - 1] != '"'))
		return "is no e-mail address: it has several at signs";
	problem = domain_problem(text + at + 1, last - at - 1);
	if (problem == NULL)
	{
		*start = first;
		*end = last;
	}
	return problem;
}
