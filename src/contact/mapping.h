/*
 * mapping.h
 *	  How the rows of a tracked table become contacts.
 */
#ifndef OMNICHANNEL_MAPPING_H
#define OMNICHANNEL_MAPPING_H

#include "executor/tuptable.h"
#include "utils/rel.h"

#include "contact/contact.h"

/* What of a contact a mapping says, in the order of the columns of tracking. */
typedef enum MappingField
{
	FIELD_CHANNEL,
	FIELD_CUSTOMER,
	FIELD_RECIPIENT,
	FIELD_KIND,
	FIELD_DIRECTION,
	FIELD_OUTCOME,
	FIELD_OCCURRED_AT,
	FIELD_AGENT,
	FIELD_REQUEST,
	FIELD_THREAD,
	FIELD_SUBJECT,
	FIELD_BODY,
	FIELD_PAYLOAD,
	FIELD_SOURCE_KEY
} MappingField;

#define MAPPING_FIELDS (FIELD_SOURCE_KEY + 1)

/* One stretch of a mapping: a constant text, or a column's name. */
typedef struct MappingPart
{
	const char *text;
	bool column;
} MappingPart;

/* What the application calls it, and what it is here; NULL for rows that are not to be logged. */
typedef struct MappedValue
{
	const char *from;
	const char *to;
} MappedValue;

typedef struct MappingItem
{
	MappingPart *parts;
	bool given;
	int nparts;          /* 0: not mapped, or to nothing */
	MappedValue *values; /* sorted by from */
	int nvalues;         /* 0: the value is taken as it is */
	bool whole_row;
	bool joins_key; /* a source_key of several columns: a slash in one of them is told from one between them */
} MappingItem;

/* A row of tracking; its code, which fits the longest name of a table with its schema, is the hash key. */
#define TRACKING_SIZE 260

typedef struct Tracking
{
	char code[TRACKING_SIZE];
	Oid relation;
	const char *source;
	const char *time_zone;
	bool quarantine;
	bool updates;
	MappingItem items[MAPPING_FIELDS];
} Tracking;

/* A mapping fitted to the columns of one table. */
typedef struct FittedMapping FittedMapping;

extern const Tracking *tracking_find(const char *code);
extern uint64 tracking_generation(void);
extern int compare_mapped_values(const void *a, const void *b);
extern void mapping_check_registered(const Tracking *tracking, Relation relation);
extern const FittedMapping *mapping_fit(const Tracking *tracking, Relation relation);
extern bool mapping_needs_pinned_output(const FittedMapping *fitted);
extern const char *mapping_value(const MappingItem *item, const char *text, bool *logged);
extern bool mapping_evaluate(const FittedMapping *fitted, TupleTableSlot *slot, bool whole, ContactEntry *entry);
extern bool mapping_leaves_out(const Tracking *tracking);
extern const char *mapping_key(const FittedMapping *fitted, TupleTableSlot *slot);
extern const char *mapping_only_key(const Tracking *tracking, Relation relation, TupleTableSlot *slot);
extern bool mapping_names_rows(const FittedMapping *fitted, Relation relation);
extern void mapping_check_constants(const Tracking *tracking);
extern const char *mapping_field_name(MappingField field);
extern int64 mapping_id(const Tracking *tracking, MappingField field, const char *text);

extern bool is_about_row(int sqlstate);
extern bool reject_waits(const Tracking *tracking, const ContactEntry *entries, int count);
extern const ContactEntry *rejects_find(const Tracking *tracking, const ContactEntry *entries, int count);
extern void rejects_clear(const Tracking *tracking, const ContactEntry *found, const ContactEntry *entries,
						  const bool *other, int count, bool revises, Snapshot seen);
extern bool reject_is_new(const Tracking *tracking, const char *source, const char *source_key);
extern int find_other_rows(const ContactEntry *entries, int count, bool *other);
extern bool logged_of(const ContactEntry *row, const char *source, const char *source_key);
extern bool follow_key(const ContactEntry *entry, const char *former);
extern bool key_written_since(const char *source, const char *source_key, CommandId command);

#endif /* OMNICHANNEL_MAPPING_H */
