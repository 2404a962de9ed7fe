/*
 * skill_gin.c
 *	  GIN operator class of skill_set: @>, <@ and = answered by an inverted index.
 *
 * A key is a skill with its level: the code, a zero byte, the level, compared as bytea. All levels of one skill thus
 * stand together, and "billing at 4 or above" is a range of keys, read as a partial match. So @> needs no recheck.
 */
#include "postgres.h"

#include "access/gin.h"
#include "access/stratnum.h"
#include "fmgr.h"

#include "omnichannel.h"
#include "routing/skill_set.h"

SQL_FUNCTION(omnichannel_skill_gin_value);
SQL_FUNCTION(omnichannel_skill_gin_query);
SQL_FUNCTION(omnichannel_skill_gin_consistent);
SQL_FUNCTION(omnichannel_skill_gin_triconsistent);
SQL_FUNCTION(omnichannel_skill_gin_partial);

enum
{
	SKILL_GIN_CONTAINS = 1,
	SKILL_GIN_CONTAINED = 2,
	SKILL_GIN_EQUAL = 3
};

/* Returns the key of a skill at a level. */
static Datum
skill_key(const SkillItem *item, int level)
{
	bytea *key = palloc(VARHDRSZ + item->length + 2);
	char *data = VARDATA(key);

	SET_VARSIZE(key, VARHDRSZ + item->length + 2);
	memcpy(data, item->code, item->length);
	data[item->length] = '\0';
	data[item->length + 1] = (char) level;
	return PointerGetDatum(key);
}

/* Returns the highest level that the key of a skill can match under <@, kept as the key's extra datum. */
#define KEY_LEVEL(extra) ((int) (intptr_t) (extra))

Datum
omnichannel_skill_gin_value(PG_FUNCTION_ARGS)
{
	SkillSet *set = PG_GETARG_SKILL_SET(0);
	int32 *nkeys = (int32 *) PG_GETARG_POINTER(1);
	const unsigned char *next = SKILL_SET_BYTES(set);
	const unsigned char *end = next + SKILL_SET_SIZE(set);
	Datum *keys = palloc(sizeof(Datum) * (SKILL_SET_SIZE(set) / 3 + 1));
	SkillItem item;

	*nkeys = 0;
	while (skill_next(&next, end, &item))
		keys[(*nkeys)++] = skill_key(&item, item.level);
	PG_RETURN_POINTER(keys);
}

Datum
omnichannel_skill_gin_query(PG_FUNCTION_ARGS)
{
	SkillSet *set = PG_GETARG_SKILL_SET(0);
	int32 *nkeys = (int32 *) PG_GETARG_POINTER(1);
	StrategyNumber strategy = PG_GETARG_UINT16(2);
	bool **partial = (bool **) PG_GETARG_POINTER(3);
	Pointer **extra = (Pointer **) PG_GETARG_POINTER(4);
	int32 *mode = (int32 *) PG_GETARG_POINTER(6);
	const unsigned char *next = SKILL_SET_BYTES(set);
	const unsigned char *end = next + SKILL_SET_SIZE(set);
	size_t most = SKILL_SET_SIZE(set) / 3 + 1;
	Datum *keys = palloc(sizeof(Datum) * most);
	SkillItem item;

	*nkeys = 0;
	*partial = palloc(sizeof(bool) * most);
	*extra = palloc(sizeof(Pointer) * most);
	while (skill_next(&next, end, &item))
	{
		/* The range begins at the key: at the level asked for, or at the lowest where the query is the upper bound. */
		keys[*nkeys] = skill_key(&item, strategy == SKILL_GIN_CONTAINED ? 1 : item.level);
		(*partial)[*nkeys] = strategy != SKILL_GIN_EQUAL;
		(*extra)[*nkeys] = (Pointer) (intptr_t) (strategy == SKILL_GIN_CONTAINED ? item.level : SKILL_LEVEL_MAX);
		(*nkeys)++;
	}

	switch (strategy)
	{
		case SKILL_GIN_CONTAINS:
			*mode = *nkeys > 0 ? GIN_SEARCH_MODE_DEFAULT : GIN_SEARCH_MODE_ALL;
			break;
		case SKILL_GIN_CONTAINED:
			*mode = GIN_SEARCH_MODE_INCLUDE_EMPTY;
			break;
		case SKILL_GIN_EQUAL:
			*mode = *nkeys > 0 ? GIN_SEARCH_MODE_DEFAULT : GIN_SEARCH_MODE_INCLUDE_EMPTY;
			break;
		default:
			elog(ERROR, "unknown strategy %d of the operator class of skill_set", strategy);
	}
	PG_RETURN_POINTER(keys);
}

/* Compares a key of the index with a range that begins at or before it: 0 inside, 1 past it. */
Datum
omnichannel_skill_gin_partial(PG_FUNCTION_ARGS)
{
	bytea *first = PG_GETARG_BYTEA_PP(0);
	bytea *key = PG_GETARG_BYTEA_PP(1);
	int highest = KEY_LEVEL(PG_GETARG_POINTER(3));
	int size = (int) VARSIZE_ANY_EXHDR(first);
	const char *data = VARDATA_ANY(key);

	if ((int) VARSIZE_ANY_EXHDR(key) != size || memcmp(VARDATA_ANY(first), data, size - 1) != 0)
		PG_RETURN_INT32(1);
	PG_RETURN_INT32(data[size - 1] <= highest ? 0 : 1);
}

Datum
omnichannel_skill_gin_consistent(PG_FUNCTION_ARGS)
{
	bool *check = (bool *) PG_GETARG_POINTER(0);
	StrategyNumber strategy = PG_GETARG_UINT16(1);
	int32 nkeys = PG_GETARG_INT32(3);
	bool *recheck = (bool *) PG_GETARG_POINTER(5);

	/* Under <@ the item has one of the keys, or is empty; it may have others, which the keys do not tell. */
	*recheck = strategy != SKILL_GIN_CONTAINS;
	if (strategy == SKILL_GIN_CONTAINED)
		PG_RETURN_BOOL(true);
	for (int i = 0; i < nkeys; i++)
	{
		if (!check[i])
			PG_RETURN_BOOL(false);
	}
	PG_RETURN_BOOL(true);
}

Datum
omnichannel_skill_gin_triconsistent(PG_FUNCTION_ARGS)
{
	GinTernaryValue *check = (GinTernaryValue *) PG_GETARG_POINTER(0);
	StrategyNumber strategy = PG_GETARG_UINT16(1);
	int32 nkeys = PG_GETARG_INT32(3);
	GinTernaryValue answer = strategy == SKILL_GIN_CONTAINS ? GIN_TRUE : GIN_MAYBE;

	if (strategy == SKILL_GIN_CONTAINED)
		PG_RETURN_GIN_TERNARY_VALUE(GIN_MAYBE);
	for (int i = 0; i < nkeys; i++)
	{
		if (check[i] == GIN_FALSE)
			PG_RETURN_GIN_TERNARY_VALUE(GIN_FALSE);
		if (check[i] == GIN_MAYBE)
			answer = GIN_MAYBE;
	}
	PG_RETURN_GIN_TERNARY_VALUE(answer);
}
