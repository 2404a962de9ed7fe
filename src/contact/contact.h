/*
 * contact.h
 *	  What the contact room's files share, and what it offers to later rooms.
 */
#ifndef OMNICHANNEL_CONTACT_H
#define OMNICHANNEL_CONTACT_H

#include "utils/snapshot.h"
#include "utils/timestamp.h"

#include "customer/customer.h"
#include "routing/routing.h"
#include "sla/sla.h"

/* A conversation that the application names; see conversation.c. */
typedef struct Conversation
{
	const char *source; /* whose key it is; empty where none is named */
	const char *thread;
	int64 customer_id;                /* whom it is with, or 0 while nobody knows */
	int64 request_id;                 /* the last one that it was about, or 0 */
	TimestampTz request_at;           /* since when, or DT_NOBEGIN */
	int64 last_id;                    /* what the last of the contacts at hand was about, or 0 */
	TimestampTz last_at;              /* when that was */
	bool last_open;                   /* whether that is open */
	bool open;                        /* whether that is open */
	TimestampTz waits_since;          /* that waits for the customer, or infinity */
	const char *in_channel;           /* the channel in which its customer is, where that is open */
	bool known;                       /* its row is there */
	bool changed;                     /* it says something else than its row */
	bool claimed;                     /* its row was inserted here */
	bool lost;                        /* its row was inserted by another, at the same time */
	bool reserved;                    /* the customer is a new one, whose id is reserved */
	bool created;                     /* and has been made */
	int64 nameless;                   /* whom it was with while nobody was named in it, or 0 */
	const struct ContactEntry *first; /* of those at hand that say whose they are */
} Conversation;

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
	bool timed; /* a tracked row says when */
	int64 agent_id;
	int64 request_id;
	const char *thread;
	text *subject;
	text *body;
	struct varlena *payload; /* jsonb */
	const char *source;
	const char *source_key;
	bool fresh; /* its source has just made the key */
	bool sole;  /* nobody else can be making the same key at the time: it is in the source's primary key */

	int64 contact_id;
	const SlaRequestState *request;  /* of request_id, where request_settled() has looked */
	SlaWait *wait;                   /* that goes on with it, where that has found one, or NULL */
	ItemPointerData place;           /* as SlaContact has it */
	Conversation *conversation;      /* NULL where it has no thread, or is somebody else's than that */
	int64 request_customer;          /* whose request_id is, where the caller names one */
	TimestampTz request_waits_since; /* that, or one that was found, waits for its customer, or infinity */
	const char *request_in_channel;  /* in which the customer of request_id is, where that is open and known here */
	bool named;                      /* it says itself who its customer is */
	bool unknown;                    /* the customer is made for this contact */
	bool quiet;     /* nobody was changing the row of request_id, an open one that was found, when it was read */
	bool settled;   /* logged before, of an erased customer or a stranger; or an erased one's history */
	bool stranger;  /* it names somebody nobody knows: customer_id is of whom its key is logged */
	bool opens;     /* it has opened request_id */
	bool moves;     /* the customer of request_id says it in another channel than he was in */
	bool still;     /* see sla_contacts_logged() */
	bool duplicate; /* the same source and key was logged before */
} ContactEntry;

extern void contact_check(ContactEntry *entry);
extern void contact_check_when_who(ContactEntry *entry);
extern void contact_check_texts(const ContactEntry *entry);

/* What a statement keeps from one batch of its rows to the next; NULL for what it does not. */
typedef struct ContactBatches
{
	RelationshipSums *sums; /* counted until the end */
	CustomerMemo *memo;     /* who was found */
} ContactBatches;

extern void contact_write(ContactEntry *entries, int count, bool live, const ContactBatches *batches);
extern bool contact_revise(const ContactEntry *entry);
extern void key_claim(ContactEntry *entry);
extern void keys_claim(ContactEntry *entries, int count);
extern int64 contact_find(const char *source, const char *source_key);

/* Bytes of a source, its key or the key of a conversation: those of indexes must stay below a third of a page. */
#define KEY_MAX 1000

/* Since when a request r waits for its customer, NULL where it does not. */
#define WAITS_SINCE "CASE WHEN r.state = 'waiting_customer' THEN r.state_since END"

/* The channel in which the customer of an open request r is. */
#define IN_CHANNEL "CASE WHEN r.closed_at IS NULL THEN coalesce(r.current_channel, r.channel) END"

/* contact_key.source of the keys that erasures have masked. */
#define MASKED_SOURCE "erased"

extern void erased_keys_mask(ContactEntry *entries, int count);
extern bool erased_key_follow(const ContactEntry *entry, const char *former);

extern bool is_inbound(const ContactEntry *entry);
extern bool is_internal(const ContactEntry *entry);
extern bool is_said(const ContactEntry *entry);
extern bool is_loose(const ContactEntry *entry);
extern bool ends_wait(const ContactEntry *entry, TimestampTz waits_since);

extern void requests_match(ContactEntry *entries, int count);
extern void customers_match(ContactEntry *entries, int count, bool live, CustomerMemo *memo);
extern void customers_rematch(ContactEntry *entries, int count);
extern bool customers_adopt(ContactEntry *entries, int count, bool *merged);
extern void customers_check_requests(ContactEntry *entries, int count, bool *merged);

extern void conversations_find(ContactEntry *entries, int count);
extern void conversations_refresh(ContactEntry *entries, int count);
extern void conversations_await(ContactEntry *entries, int count);
extern bool conversations_claim(ContactEntry *entries, int count);
extern bool conversation_about(Conversation *conversation, int64 request_id, TimestampTz at);
extern void conversations_save(ContactEntry *entries, int count);
extern bool request_settled(ContactEntry *entry, Snapshot snapshot, bool stills);
extern void requests_continue(ContactEntry *entries, int count);
extern void requests_moved(const ContactEntry *entries, int count);

extern const char *direction_check(const char *direction);
extern const char *outcome_check(const char *outcome);
extern bool code_known(const text *code, bool outcome);

#endif /* OMNICHANNEL_CONTACT_H */
