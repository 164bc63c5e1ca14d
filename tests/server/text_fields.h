// What the text fields of the API's requests are. A field that is new belongs
// in one of the lists. Thread safe.
#ifndef DISSONANCE_TESTS_SERVER_TEXT_FIELDS_H_
#define DISSONANCE_TESTS_SERVER_TEXT_FIELDS_H_

#include <set>
#include <string>

namespace dissonance {

// Names of fields that name an object of a user's.
const std::set<std::string>& ObjectFields();

// Of those that name no object; of one message only where it is given.
const std::set<std::string>& PlainFields();

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_SERVER_TEXT_FIELDS_H_
