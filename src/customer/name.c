/*
 * name.c
 *	  How alike two names of persons are.
 *
 * For suggestions that a person looks at: word by word in any order, without accents and capitals, forgiving slips of
 * the pen and initials. Made of what the server has, so that no other extension is needed.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/formatting.h"
#include "utils/varlena.h"

#include "omnichannel.h"

SQL_FUNCTION(omnichannel_name_similarity);

#define WORDS_MAX 12
/* The server's Levenshtein distance costs the product of the lengths. */
#define WORD_BYTES_MAX 80
/* Words less alike than this are different words. */
#define WORD_ALIKE 0.6
#define INITIAL_ALIKE 0.9
/* What a word that only one of the names has takes away. */
#define WORD_MISSING 0.1

typedef struct Word
{
	char text[WORD_BYTES_MAX + 1];
	int bytes;
	int characters;
} Word;

typedef struct NameWords
{
	Word words[WORDS_MAX];
	int count;
} NameWords;

/* Letters of the Latin script that Unicode does not take apart, as UTF-8, and how people write them without. */
static const char *const plain_letters[][2] = {
	{"\xC5\x82", "l"},  {"\xC3\xB8", "o"},  {"\xC4\x91", "d"},  {"\xC3\xB0", "d"},
	{"\xC4\xB1", "i"},  {"\xC4\xA7", "h"},  {"\xC5\xA7", "t"},  {"\xC3\xA6", "ae"},
	{"\xC5\x93", "oe"}, {"\xC3\xBE", "th"}, {"\xC3\x9F", "ss"},
};

/* Returns the name in small letters and, in UTF-8, with accents taken off the letters. */
static char *
name_plain(text *name)
{
	char *lower = str_tolower(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), DEFAULT_COLLATION_OID);
	text *apart;

	if (GetDatabaseEncoding() != PG_UTF8)
		return lower;
	apart = DatumGetTextPP(DirectFunctionCall2(unicode_normalize_func, PointerGetDatum(cstring_to_text(lower)),
											   PointerGetDatum(cstring_to_text("NFKD"))));
	return text_to_cstring(apart);
}

/* Returns the bytes of the combining mark (U+0300 to U+036F) at text in UTF-8, or 0. */
static int
combining_mark(const char *text)
{
	const unsigned char *byte = (const unsigned char *) text;

	return (byte[0] == 0xCC && byte[1] >= 0x80) || (byte[0] == 0xCD && byte[1] >= 0x80 && byte[1] <= 0xAF) ? 2 : 0;
}

/* Returns the bytes of what separates words at text: spaces, hyphens, dots and other ASCII that is no letter; or 0. */
static int
word_separator(const char *text, bool utf8)
{
	const unsigned char *byte = (const unsigned char *) text;

	if (byte[0] < 0x80)
		return !((byte[0] >= 'a' && byte[0] <= 'z') || (byte[0] >= '0' && byte[0] <= '9') || byte[0] == '\'');
	/* U+2000 to U+203F: general punctuation */
	return utf8 && byte[0] == 0xE2 && byte[1] == 0x80 ? 3 : 0;
}

/* Returns the letters that stand for the one at text, and its bytes, or NULL where it stands for itself. */
static const char *
plain_letter(const char *text, int *bytes)
{
	for (int i = 0; i < (int) lengthof(plain_letters); i++)
	{
		*bytes = (int) strlen(plain_letters[i][0]);
		if (strncmp(text, plain_letters[i][0], *bytes) == 0)
			return plain_letters[i][1];
	}
	return NULL;
}

/* Takes a name apart; words beyond the twelfth, and letters beyond a word's limit, do not count. */
static void
name_words(text *name, NameWords *words)
{
	bool utf8 = GetDatabaseEncoding() == PG_UTF8;
	const char *rest = name_plain(name);
	Word *word = NULL;

	words->count = 0;
	while (*rest != '\0')
	{
		const char *letters = rest;
		int bytes = 0;
		int length;

		if ((bytes = word_separator(rest, utf8)) > 0)
		{
			word = NULL;
			rest += bytes;
			continue;
		}
		if (utf8 && (bytes = combining_mark(rest)) > 0)
		{
			rest += bytes;
			continue;
		}
		if (*rest == '\'')
		{
			rest++;
			continue;
		}
		if (!utf8 || (letters = plain_letter(rest, &bytes)) == NULL)
		{
			letters = rest;
			bytes = length = pg_mblen(rest);
		}
		else
			length = (int) strlen(letters);

		if (word == NULL && words->count < WORDS_MAX)
		{
			word = &words->words[words->count++];
			word->bytes = word->characters = 0;
		}
		if (word != NULL && word->bytes + length <= WORD_BYTES_MAX)
		{
			memcpy(word->text + word->bytes, letters, length);
			word->bytes += length;
			word->characters += letters == rest ? 1 : length;
			word->text[word->bytes] = '\0';
		}
		rest += bytes;
	}
}

/* Returns how alike two words are, from 0 to 1. */
static double
word_alike(const Word *a, const Word *b)
{
	int longest = Max(a->characters, b->characters);
	int farthest = (int) (longest * (1 - WORD_ALIKE));
	int distance;

	if (a->bytes == b->bytes && memcmp(a->text, b->text, a->bytes) == 0)
		return 1;
	if ((a->characters == 1 || b->characters == 1) && memcmp(a->text, b->text, Min(a->bytes, b->bytes)) == 0)
		return INITIAL_ALIKE;
	if (abs(a->characters - b->characters) > farthest)
		return 0;
	distance = varstr_levenshtein_less_equal(a->text, a->bytes, b->text, b->bytes, 1, 1, 1, farthest, true);
	return distance > farthest ? 0 : 1 - (double) distance / longest;
}

/* Returns how alike two names are: each word of the shorter one beside the word of the longer one that is nearest. */
static double
names_alike(const NameWords *shorter, const NameWords *longer)
{
	bool taken[WORDS_MAX] = {false};
	double sum = 0;

	if (shorter->count == 0)
		return 0;
	for (int i = 0; i < shorter->count; i++)
	{
		double best = 0;
		int place = -1;

		for (int j = 0; j < longer->count; j++)
		{
			double alike = taken[j] ? 0 : word_alike(&shorter->words[i], &longer->words[j]);

			if (alike > best)
			{
				best = alike;
				place = j;
			}
		}
		if (place >= 0)
			taken[place] = true;
		sum += best;
	}
	return Max(0, sum / shorter->count - WORD_MISSING * (longer->count - shorter->count));
}

/* name_similarity(a, b): returns how alike two names are, from 0 (not at all) to 1. */
Datum
omnichannel_name_similarity(PG_FUNCTION_ARGS)
{
	NameWords a;
	NameWords b;

	name_words(PG_GETARG_TEXT_PP(0), &a);
	name_words(PG_GETARG_TEXT_PP(1), &b);
	PG_RETURN_FLOAT8(a.count <= b.count ? names_alike(&a, &b) : names_alike(&b, &a));
}
