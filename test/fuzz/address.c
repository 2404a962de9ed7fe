/* sources: src/customer/address.c src/customer/numbering.c */
/*
 * address.c
 *	  Any bytes as a telephone number and as an e-mail address, in any country.
 *
 * What is accepted must be in the normal form, must be its own normal form, and must not depend on how it is written:
 * with other separators, or with an international prefix in place of the plus; an address with blanks or a name around
 * it, or as a mailto URI. National numbers that a numbering plan
 * allows must come out the same in every way in which they are dialled.
 *
 * The first two bytes choose the country, the rest is the text.
 */
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "customer/address.h"
#include "fuzz.h"

/* Normalises a C string, copied to where a read past its end is seen. */
static const char *
normalise(const char *text, const NumberingPlan *home, char *phone)
{
	size_t length = strlen(text);
	char *exact = malloc(length > 0 ? length : 1);
	const char *problem;

	memset(phone, '?', PHONE_SIZE);
	memcpy(exact, text, length);
	problem = phone_normalise(exact, length, home, phone);
	free(exact);
	return problem;
}

/* Checks that text is refused for the same reason as expected, or gives the same number. */
static void
check_same(const char *text, const NumberingPlan *home, const char *problem, const char *expected)
{
	char phone[PHONE_SIZE];
	const char *found = normalise(text, home, phone);

	if (problem != NULL)
		CHECK(found != NULL && strcmp(found, problem) == 0);
	else
		CHECK(found == NULL && strcmp(phone, expected) == 0);
}

/* Checks that a number is in E.164's form. */
static void
check_form(const char *phone)
{
	size_t length = strlen(phone);

	CHECK(phone[0] == '+' && length >= 8 && length <= 16 && phone[1] != '0');
	CHECK(strspn(phone + 1, "0123456789") == length - 1);
}

/* Checks any text as a number. */
static void
check_phone(const char *text, size_t size, const NumberingPlan *home, const NumberingPlan *elsewhere)
{
	char phone[PHONE_SIZE];
	char bare[80] = "";
	char spaced[240] = "";
	const char *problem = phone_normalise(text, size, home, phone);
	size_t digits = 0;

	if (problem == NULL)
	{
		check_form(phone);
		check_same(phone, home, NULL, phone);
		check_same(phone, elsewhere, NULL, phone);
	}

	/* The text without anything that separates, and with all of it. */
	if (size >= 4 && strncasecmp(text, "tel:", 4) == 0)
	{
		text += 4;
		size -= 4;
		strcpy(spaced, "TEL:");
	}
	if (problem != NULL && (strstr(problem, "characters") != NULL || strstr(problem, "context") != NULL))
		return;
	/* What is accepted is the number in front of its parameters. */
	if (memchr(text, ';', size) != NULL)
		size = (const char *) memchr(text, ';', size) - text;
	for (size_t i = 0; i < size; i++)
	{
		if (size - i >= 3 && strncmp(text + i, "(0)", 3) == 0 && bare[0] != '\0')
			i += 2;
		else if (text[i] == '+' || (text[i] >= '0' && text[i] <= '9'))
		{
			char one[2] = {text[i], '\0'};

			if (++digits > 33)
				return;
			strcat(bare, one);
			strcat(spaced, one);
			strcat(spaced, digits % 3 == 0 ? " " : digits % 3 == 1 ? "\xE2\x80\x91" : "\xC2\xA0");
			/* A zero in brackets is left out: no digit may look like one. */
		}
	}
	check_same(bare, home, problem, phone);
	check_same(spaced, home, problem, phone);
	if (problem == NULL)
	{
		char dialled[40];

		/* What was dialled ends with what came out, at least the last four digits. */
		CHECK(strlen(bare) >= 4 && strcmp(bare + strlen(bare) - 4, phone + strlen(phone) - 4) == 0);
		/* A country that dials 00 and one with a prefix of its own agree. */
		snprintf(dialled, sizeof(dialled), "00%s", phone + 1);
		if (home->international[0] == '\0')
			check_same(dialled, home, NULL, phone);
		else
		{
			snprintf(dialled, sizeof(dialled), "%s%s", home->international, phone + 1);
			check_same(dialled, home, NULL, phone);
		}
	}
}

/* Checks the digits of text as a national number, in every way in which it is dialled. */
static void
check_national(const char *text, size_t size, const NumberingPlan *home)
{
	char number[20] = "";
	char expected[40];
	char dialled[60];
	size_t count = 0;

	for (size_t i = 0; i < size && (int) count < home->longest && count < 15; i++)
		if (text[i] >= '0' && text[i] <= '9')
			number[count++] = text[i];
	number[count] = '\0';
	/* One that begins as a prefix is ambiguous. */
	if ((int) count < home->shortest || number[0] == '0' || strlen(home->code) + count < 7 ||
		strlen(home->code) + count > 15)
		return;
	if (home->trunk[0] != '\0' && strncmp(number, home->trunk, strlen(home->trunk)) == 0)
		return;
	if (home->international[0] != '\0' && strncmp(number, home->international, strlen(home->international)) == 0)
		return;

	snprintf(expected, sizeof(expected), "+%s%s", home->code, number);
	check_same(number, home, NULL, expected);
	check_same(expected, home, NULL, expected);
	snprintf(dialled, sizeof(dialled), "+%s (0) %s", home->code, number);
	check_same(dialled, home, NULL, expected);
	snprintf(dialled, sizeof(dialled), "%s%s", home->code, number);
	if ((int) strlen(dialled) > home->longest &&
		!(home->trunk[0] != '\0' && strncmp(dialled, home->trunk, strlen(home->trunk)) == 0 &&
		  strcmp(home->trunk, home->code) != 0) &&
		!(home->international[0] != '\0' && strncmp(dialled, home->international, strlen(home->international)) == 0))
		check_same(dialled, home, NULL, expected);
	if (home->trunk[0] != '\0')
	{
		snprintf(dialled, sizeof(dialled), "(%s)%s", home->trunk, number);
		if (strcmp(home->trunk, "0") != 0 &&
			!(home->international[0] != '\0' && strncmp(home->trunk, home->international, strlen(home->trunk)) == 0 &&
			  strncmp(number, home->international + strlen(home->trunk),
					  strlen(home->international) - strlen(home->trunk)) == 0))
			check_same(dialled, home, NULL, expected);
		snprintf(dialled, sizeof(dialled), "%s%s", home->trunk, number);
		if (strcmp(home->trunk, "0") == 0)
			check_same(dialled, home, NULL, expected);
	}
}

/* Checks that a text gives this address. */
static void
check_address(const char *text, const char *expected)
{
	size_t length = strlen(text);
	char *exact = malloc(length > 0 ? length : 1);
	char email[EMAIL_SIZE];

	memset(email, '?', sizeof(email));
	memcpy(exact, text, length);
	CHECK(email_address(exact, length, email) == NULL && strcmp(email, expected) == 0);
	free(exact);
}

/* Checks any text as an address. */
static void
check_email(const char *text, size_t size)
{
	char email[EMAIL_SIZE];
	char written[EMAIL_SIZE * 3 + 100];
	const char *at;
	bool literal;

	if (email_address(text, size, email) != NULL)
		return;
	CHECK(strlen(email) >= 3 && strlen(email) <= EMAIL_MAX);
	for (const char *c = email; *c != '\0'; c++)
	{
		CHECK((unsigned char) *c > ' ' && *c != 0x7F && strchr("<>,;", *c) == NULL);
		/* What no text has is made of no text: letters of other scripts stay what they are. */
		CHECK((*c & 0x80) == 0 || memchr(text, *c, size) != NULL);
	}
	CHECK(strstr(email, "\xC2\xA0") == NULL && strstr(email, "\xE2\x80\x8B") == NULL);
	at = strrchr(email, '@');
	CHECK(at != NULL && at > email && at[1] != '\0' && email[strlen(email) - 1] != '.');
	literal = at[1] == '[';
	for (const char *c = at + 1; *c != '\0'; c++)
		CHECK((*c & 0x80) != 0 || isalnum((unsigned char) *c) || strchr(literal ? "[]:.-" : "-._", *c) != NULL);
	CHECK(!literal || (strlen(at) > 3 && at[strlen(at) - 1] == ']'));

	/* It is its own normal form, however it is written. */
	check_address(email, email);
	snprintf(written, sizeof(written), "\xEF\xBB\xBF \"Ann\" <%s>\xC2\xA0\n", email);
	check_address(written, email);
	snprintf(written, sizeof(written), "\xE2\x80\x8B%s.\xE3\x80\x80.", email);
	check_address(written, email);
	strcpy(written, "MailTo:");
	for (const char *c = email; *c != '\0'; c++)
		sprintf(written + strlen(written), isalnum((unsigned char) *c) || (*c & 0x80) != 0 ? "%c" : "%%%02X",
				(unsigned char) *c);
	check_address(written, email);
	strcat(written, "?subject=a%20b&cc=x@y.test");
	check_address(written, email);
	strcat(written, "&To=x@y.test");
	CHECK(email_address(written, strlen(written), email) != NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const NumberingPlan unknown = {"XX", "999", "", "", 0, 0};
	char country[3] = "PL";
	const NumberingPlan *home;

	check_email((const char *) bytes, size);
	if (size < 2)
		return 0;
	country[0] = (char) toupper(bytes[0]);
	country[1] = (char) toupper(bytes[1]);
	home = numbering_plan(country);
	CHECK(home == NULL || strcmp(home->country, country) == 0);
	if (home == NULL)
		home = &unknown;
	check_email((const char *) bytes + 2, size - 2);
	check_phone((const char *) bytes + 2, size - 2, home, numbering_plan("US"));
	if (home != &unknown)
		check_national((const char *) bytes + 2, size - 2, home);
	return 0;
}
