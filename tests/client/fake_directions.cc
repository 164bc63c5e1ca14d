#include "tests/client/fake_directions.h"

#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"

namespace dissonance {
namespace {

v1::DirectionVector VectorAt(int block, std::vector<float> numbers) {
  v1::DirectionVector vector;
  vector.mutable_place()->set_site(v1::SITE_RESID_POST);
  vector.mutable_place()->set_block(block);
  vector.mutable_vector()->set_dtype(v1::DTYPE_FLOAT32);
  vector.mutable_vector()->add_shape(static_cast<int64_t>(numbers.size()));
  vector.mutable_vector()->set_data(numbers.data(),
                                    numbers.size() * sizeof(float));
  vector.set_norm(2.5);
  vector.set_residual_norm(10);
  return vector;
}

grpc::Status NotFound(const std::string& name) {
  return {grpc::StatusCode::NOT_FOUND, absl::StrCat("no direction ", name)};
}

}  // namespace

v1::CreateDirectionRequest FakeDirections::last_created() {
  absl::MutexLock lock(&mutex_);
  return created_;
}

v1::FitDirectionsRequest FakeDirections::last_fit() {
  absl::MutexLock lock(&mutex_);
  return fit_;
}

grpc::Status FakeDirections::CreateDirection(
    grpc::ServerContext* context, const v1::CreateDirectionRequest* request,
    v1::CreateDirectionResponse* response) {
  if (const grpc::Status status = check_(*context); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  created_ = *request;
  v1::Direction direction;
  direction.set_name(request->name());
  direction.set_shared(request->shared());
  direction.set_owner("users/ada");
  direction.set_model("models/m");
  direction.set_method(v1::DIRECTION_METHOD_PROBE);
  *direction.mutable_vectors() = request->given().vectors();
  if (request->has_given()) {
    direction.set_model(request->given().model());
    direction.set_method(request->given().method());
  } else {
    *direction.add_vectors() = VectorAt(2, {0, 1});
  }
  direction.set_width(2);
  for (const v1::DirectionVector& vector : direction.vectors()) {
    *direction.add_places() = vector.place();
  }
  directions_[request->name()] = direction;
  *response->mutable_direction() = direction;
  return grpc::Status::OK;
}

grpc::Status FakeDirections::GetDirection(
    grpc::ServerContext* context, const v1::GetDirectionRequest* request,
    v1::GetDirectionResponse* response) {
  if (const grpc::Status status = check_(*context); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  const auto found = directions_.find(request->name());
  if (found == directions_.end()) return NotFound(request->name());
  *response->mutable_direction() = found->second;
  return grpc::Status::OK;
}

grpc::Status FakeDirections::ListDirections(
    grpc::ServerContext* context, const v1::ListDirectionsRequest* /*request*/,
    v1::ListDirectionsResponse* response) {
  if (const grpc::Status status = check_(*context); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  for (const auto& [name, direction] : directions_) {
    *response->add_directions() = direction;
    response->mutable_directions()->rbegin()->clear_vectors();
  }
  return grpc::Status::OK;
}

grpc::Status FakeDirections::DeleteDirection(
    grpc::ServerContext* context, const v1::DeleteDirectionRequest* request,
    v1::DeleteDirectionResponse* /*response*/) {
  if (const grpc::Status status = check_(*context); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  return directions_.erase(request->name()) == 1 ? grpc::Status::OK
                                                 : NotFound(request->name());
}

grpc::Status FakeDirections::CompareDirections(
    grpc::ServerContext* context, const v1::CompareDirectionsRequest* request,
    v1::CompareDirectionsResponse* response) {
  if (const grpc::Status status = check_(*context); !status.ok()) return status;
  const int count = request->names_size();
  for (int i = 0; i < count; ++i) {
    v1::ComparedVector& vector = *response->add_vectors();
    vector.set_direction(request->names(i));
    *vector.mutable_place() = VectorAt(i, {1}).place();
    for (int j = 0; j < count; ++j) {
      const bool is_other = (i == count - 1) != (j == count - 1);
      response->add_cosines(is_other ? std::numeric_limits<double>::quiet_NaN()
                                     : (j - i) / 10.0);
    }
  }
  return grpc::Status::OK;
}

grpc::Status FakeDirections::FitDirections(
    grpc::ServerContext* context, const v1::FitDirectionsRequest* request,
    v1::FitDirectionsResponse* response) {
  if (const grpc::Status status = check_(*context); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  fit_ = *request;
  for (const int32_t block : request->blocks()) {
    *response->add_vectors() = VectorAt(block, {1, 0});
  }
  response->add_row_counts(2);
  response->add_row_counts(1);
  return grpc::Status::OK;
}

}  // namespace dissonance
