/*
 * address.c
 *	  Telephone numbers and e-mail addresses in the one form in which they are compared.
 *
 * Pure functions on bytes, so that they can be fuzzed without a server. Both say what is wrong instead of raising it.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "customer/address.h"

#define PHONE_DIGITS_MAX 15
#define PHONE_DIGITS_MIN 7
/* Digits as dialled: an international prefix and a carrier's code may stand before the number. */
#define DIALLED_MAX 32

/*
 * Characters that show nothing: copied from web pages and address books they stand around an address, unseen.
 *
 * Source: Unicode 15.1, White_Space and Default_Ignorable_Code_Point; those of ASCII aside.
 */
static const struct
{
	uint32_t first;
	uint32_t last;
} blanks[] = {
	{0x85, 0x85},       {0xA0, 0xA0},       {0xAD, 0xAD},       {0x34F, 0x34F},   {0x61C, 0x61C},   {0x115F, 0x1160},
	{0x1680, 0x1680},   {0x17B4, 0x17B5},   {0x180B, 0x180F},   {0x2000, 0x200F}, {0x2028, 0x202F}, {0x205F, 0x206F},
	{0x3000, 0x3000},   {0x3164, 0x3164},   {0xFE00, 0xFE0F},   {0xFEFF, 0xFEFF}, {0xFFA0, 0xFFA0}, {0xFFF0, 0xFFF8},
	{0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A}, {0xE0000, 0xE0FFF},
};

/* Returns the character at text and sets its bytes; a byte that is no UTF-8 is a character that nothing else is. */
static uint32_t
character_at(const char *text, const char *end, size_t *bytes)
{
	const unsigned char *byte = (const unsigned char *) text;
	size_t length = byte[0] < 0xC2 ? 1 : byte[0] < 0xE0 ? 2 : byte[0] < 0xF0 ? 3 : byte[0] < 0xF5 ? 4 : 1;
	uint32_t character = length == 1 ? byte[0] : byte[0] & (0x7F >> length);

	*bytes = 1;
	if (length > (size_t) (end - text) || (length == 1 && byte[0] >= 0x80))
		return UINT32_MAX;
	for (size_t i = 1; i < length; i++)
	{
		if ((byte[i] & 0xC0) != 0x80)
			return UINT32_MAX;
		character = character << 6 | (byte[i] & 0x3F);
	}
	*bytes = length;
	return character;
}

/* Returns the bytes of the blank at text, or 0. */
static size_t
blank_at(const char *text, const char *end)
{
	size_t bytes;
	uint32_t character = character_at(text, end, &bytes);

	if (character < 0x80)
		return character == ' ' || (character >= '\t' && character <= '\r') ? bytes : 0;
	for (size_t i = 0; i < sizeof(blanks) / sizeof(blanks[0]); i++)
		if (character >= blanks[i].first && character <= blanks[i].last)
			return bytes;
	return 0;
}

/* text_trim moves start and end (offsets) so that no blanks stand around what is between them. */
void
text_trim(const char *text, size_t *start, size_t *end)
{
	size_t bytes;

	while (*start < *end && (bytes = blank_at(text + *start, text + *end)) > 0)
		*start += bytes;
	while (*start < *end)
	{
		const char *last = text + *end - 1;

		for (int i = 0; i < 3 && last > text + *start && (*last & 0xC0) == 0x80; i++)
			last--;
		bytes = blank_at(last, text + *end);
		if (bytes == 0 || last + bytes != text + *end)
			break;
		*end -= bytes;
	}
}

/* Returns the bytes of the separator at text that people write inside numbers, or 0. */
static size_t
phone_separator(const char *text, const char *end)
{
	const unsigned char *byte = (const unsigned char *) text;

	if (*text != '\0' && strchr(" \t.-/()", *text) != NULL)
		return 1;
	/* U+2010 to U+2015 are dashes. */
	if (end - text >= 3 && byte[0] == 0xE2 && byte[1] == 0x80 && byte[2] >= 0x90 && byte[2] <= 0x95)
		return 3;
	return (unsigned char) *text < 0x80 ? 0 : blank_at(text, end);
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

static bool
is_letter_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/*
 * Returns what is wrong with the part of an address behind its at sign, or NULL.
 *
 * It is names joined by dots, in any script, none of them empty or with a hyphen at an end; or an address in brackets.
 * Underscores are in no host's name by RFC 1123, but in some that receive mail.
 */
static const char *
domain_problem(const char *domain, size_t length)
{
	bool literal = length > 2 && domain[0] == '[' && domain[length - 1] == ']';

	for (size_t i = literal ? 1 : 0; i < (literal ? length - 1 : length); i++)
		if (!is_letter_or_digit(domain[i]) && strchr(literal ? ".:-" : ".-_", domain[i]) == NULL &&
			(literal || (unsigned char) domain[i] < 0x80))
			return "is no e-mail address: its domain has characters that are in none";
	if (literal)
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

/* Returns whether a joiner (U+200C, U+200D) at text stands between letters of other scripts than ours, as it may. */
static bool
is_joiner(const char *text, const char *begin, const char *end)
{
	return end - text > 3 && text > begin && (text[-1] & 0x80) != 0 && (text[3] & 0x80) != 0 &&
		   (memcmp(text, "\xE2\x80\x8C", 3) == 0 || memcmp(text, "\xE2\x80\x8D", 3) == 0);
}

/* Returns whether an address has something that no address has. */
static bool
has_strange_characters(const char *text, const char *end)
{
	size_t bytes;

	for (const char *at = text; at < end; at += bytes)
	{
		uint32_t character = character_at(at, end, &bytes);

		if (character < ' ' || (character >= 0x7F && character < 0xA0) ||
			(blank_at(at, end) > 0 && !is_joiner(at, text, end)))
			return true;
		/* The last three are other ways to write ;, ` and K, which they would turn into (Unicode, canonical forms). */
		if ((character < 0x80 && strchr("<>,;", (int) character) != NULL) || character == 0x37E ||
			character == 0x1FEF || character == 0x212A)
			return true;
	}
	return false;
}

/* Returns the value of a hexadecimal digit, or -1. */
static int
hexadecimal(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
		   : c >= 'a' && c <= 'f' ? c - 'a' + 10
		   : c >= 'A' && c <= 'F' ? c - 'A' + 10
								  : -1;
}

/*
 * Writes the address of a mailto URI (RFC 6068), whose scheme is behind us, into email; returns NULL, or what is wrong.
 *
 * What it says of the letter (?subject=…) is left out, further addressees are refused. Letters of other scripts must
 * not be escaped, so that any bytes are those that the caller has looked at.
 */
static const char *
mailto_address(const char *text, const char *end, char *email, size_t *length)
{
	const char *fields = memchr(text, '?', end - text);

	for (const char *field = fields; field != NULL; field = memchr(field, '&', end - field))
		if (end - ++field >= 3 && strncasecmp(field, "to=", 3) == 0)
			return "has several addressees";
	if (fields != NULL)
		end = fields;
	for (*length = 0; text < end; text++)
	{
		int character = (unsigned char) *text;

		if (*length == EMAIL_MAX)
			return "is too long for an e-mail address";
		if (*text == '%')
		{
			if (end - text < 3 || hexadecimal(text[1]) < 0 || hexadecimal(text[2]) < 0)
				return "has a percent sign that two hexadecimal digits must follow";
			character = hexadecimal(text[1]) << 4 | hexadecimal(text[2]);
			if (character >= 0x80)
				return "has escaped letters of another script";
			text += 2;
		}
		email[(*length)++] = (char) character;
	}
	/* What is left must not be read otherwise. */
	if (*length >= 7 && strncasecmp(email, "mailto:", 7) == 0)
		return "has characters that are no part of an e-mail address";
	return NULL;
}

/*
 * email_address writes the address in text, which may be a header's value: "Anna Nowak" <anna@example.com>, or a
 * mailto URI, into email, its letters as they are; returns NULL, or what is wrong.
 *
 * It checks what any address has: a local part, in quotes if it has an at sign itself, and a domain; whether mail
 * arrives there nobody can tell from the text.
 */
const char *
email_address(const char *text, size_t length, char *email)
{
	size_t first = 0;
	size_t last = length;
	const char *at;
	const char *problem;
	bool mailto = false;

	text_trim(text, &first, &last);
	if (last > first && text[last - 1] == '>')
	{
		size_t bracket = last - 1;

		while (bracket > first && text[bracket - 1] != '<')
			bracket--;
		if (bracket == first)
			return "has a closing angle bracket only";
		first = bracket;
		last--;
	}
	/* As often as it stands there: what is left must not be read otherwise. */
	for (;;)
	{
		text_trim(text, &first, &last);
		if (last - first < 7 || strncasecmp(text + first, "mailto:", 7) != 0)
			break;
		mailto = true;
		first += 7;
	}
	while (last > first && text[last - 1] == '.')
	{
		last--;
		text_trim(text, &first, &last);
	}

	length = last - first;
	if (mailto)
		problem = mailto_address(text + first, text + last, email, &length);
	else
		problem = length > EMAIL_MAX ? "is too long for an e-mail address" : NULL;
	if (problem != NULL)
		return problem;
	if (!mailto)
		memcpy(email, text + first, length);
	email[length] = '\0';

	if (has_strange_characters(email, email + length))
		return "has characters that are no part of an e-mail address";
	at = strrchr(email, '@');
	if (at == NULL)
		return "is no e-mail address: it has no at sign";
	if (at == email || at[1] == '\0')
		return "is no e-mail address: nothing stands on one side of its at sign";
	if (memchr(email, '@', at - email) != NULL && (email[0] != '"' || at - email < 2 || at[-1] != '"'))
		return "is no e-mail address: it has several at signs";
	return domain_problem(at + 1, email + length - at - 1);
}
