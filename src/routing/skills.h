/*
 * skills.h
 *	  A set of skills with levels: its text, its stored form and the arithmetic on it, in plain C.
 *
 * The stored form is one item after the other, sorted by code in byte order, each code once:
 *
 *	  length of the code (1 byte), the code, its level (1 byte)
 *
 * so that two sets are equal where their bytes are, and containment is one merge.
 */
#ifndef OMNICHANNEL_SKILLS_H
#define OMNICHANNEL_SKILLS_H

#include <stdbool.h>
#include <stddef.h>

#define SKILL_CODE_MAX 63
#define SKILL_LEVEL_MAX 10
#define SKILL_COUNT_MAX 1000

typedef enum SkillStatus
{
	SKILL_OK,
	SKILL_BAD_CODE,   /* not a code where one must stand */
	SKILL_LONG_CODE,  /* longer than SKILL_CODE_MAX */
	SKILL_BAD_LEVEL,  /* no whole number from 1 to SKILL_LEVEL_MAX after the colon */
	SKILL_NO_COMMA,   /* something else than a comma after an item */
	SKILL_TWICE,      /* a code named twice */
	SKILL_TOO_MANY,   /* more than SKILL_COUNT_MAX */
	SKILL_NOT_SORTED, /* stored form only */
	SKILL_CUT_SHORT   /* stored form only */
} SkillStatus;

typedef struct SkillItem
{
	const char *code; /* not terminated; in a parsed text possibly in capitals */
	int length;
	int level;
} SkillItem;

/* Where a text or a stored form is wrong: the part of the input to show. */
typedef struct SkillError
{
	size_t at;
	size_t length;
} SkillError;

extern SkillStatus skill_parse(const char *text, size_t size, SkillItem *items, int *count, SkillError *error);
extern size_t skill_encode(const SkillItem *items, int count, unsigned char *bytes);
extern SkillStatus skill_validate(const unsigned char *bytes, size_t size, SkillError *error);
extern size_t skill_format(const unsigned char *bytes, size_t size, char *text);
extern bool skill_next(const unsigned char **next, const unsigned char *end, SkillItem *item);
extern int skill_find(const unsigned char *bytes, size_t size, const char *code, size_t length);
extern bool skill_contains(const unsigned char *has, size_t has_size, const unsigned char *asked, size_t asked_size);
extern int skill_compare(const unsigned char *a, size_t a_size, const unsigned char *b, size_t b_size);

/* The longest text of a stored form of so many bytes: "code:10, " for each item of at least three bytes. */
#define SKILL_TEXT_MAX(size) ((size) *3 + 1)

#endif /* OMNICHANNEL_SKILLS_H */
