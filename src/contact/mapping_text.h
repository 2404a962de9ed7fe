/*
 * mapping_text.h
 *	  The stretches of a mapping's text. No server needed.
 */
#ifndef OMNICHANNEL_MAPPING_TEXT_H
#define OMNICHANNEL_MAPPING_TEXT_H

#include <stdbool.h>
#include <stddef.h>

extern bool mapping_next_part(const char **rest, const char **text, size_t *length, bool *column);

#endif /* OMNICHANNEL_MAPPING_TEXT_H */
