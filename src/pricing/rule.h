/*
 * rule.h
 *	  What the checks of a segment's rule share.
 */
#ifndef OMNICHANNEL_RULE_H
#define OMNICHANNEL_RULE_H

#include "nodes/nodes.h"

#include "omnichannel.h"

/* rule_size.c */
extern double rule_size(Node *rule);

#endif /* OMNICHANNEL_RULE_H */
