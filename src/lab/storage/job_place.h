// What a job takes a place of while it runs.
#ifndef DISSONANCE_LAB_STORAGE_JOB_PLACE_H_
#define DISSONANCE_LAB_STORAGE_JOB_PLACE_H_

namespace dissonance {

// Stored by number.
enum class JobPlace {
  kDevice = 0,    // it computes
  kEndpoint = 1,  // it asks chat endpoints
  kPipeline = 2,  // it waits for other jobs
};

inline constexpr JobPlace kJobPlaces[] = {
    JobPlace::kDevice, JobPlace::kEndpoint, JobPlace::kPipeline};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_STORAGE_JOB_PLACE_H_
