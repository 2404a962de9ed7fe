/*
 * contact.h
 *	  What the contact room's files share, and what it offers to later rooms.
 */
#ifndef OMNICHANNEL_CONTACT_H
#define OMNICHANNEL_CONTACT_H

#include "utils/timestamp.h"

/*
 * A contact to be logged. NULL pointers and ids of 0 stand for what is not given; the caller fills the first part and
 * contact_write() the second.
 */
typedef struct ContactEntry
{
	int64 customer_id; /* or kind and value, or neither: a customer nobody knows */
	const char *kind;
	const char *value; /* as written; contact_check() brings it into its normal form */
	const char *channel;
	const char *direction; /* NULL is inbound */
	const char *outcome;   /* NULL is what the direction says: received or sent */
	TimestampTz occurred_at;
	int64 agent_id;
	int64 request_id;
	const char *thread;
	text *subject;
	text *body;
	struct varlena *payload; /* jsonb */
	const char *source;
	const char *source_key;

	int64 contact_id;
	bool unknown;   /* the customer is made for this contact */
	bool duplicate; /* the same source and key was logged before */
} ContactEntry;

extern void contact_check(ContactEntry *entry);
extern void contact_write(ContactEntry *entries, int count);
extern int64 contact_find(const char *source, const char *source_key);

extern const char *direction_check(const char *direction);
extern const char *outcome_check(const char *outcome);
extern bool code_known(const text *code, bool outcome);

#endif /* OMNICHANNEL_CONTACT_H */
