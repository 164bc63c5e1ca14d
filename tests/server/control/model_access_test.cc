#include "server/control/model_access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_replace.h"
#include "src/lab/storage/database.h"
#include "src/lab/storage/user_store.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

constexpr char kModel[] = "models/m";
constexpr char kAdapter[] = "models/m/adapters/a";

class ModelAccessTest : public ::testing::Test {
 protected:
  void PutModel(const std::string& owner, v1::Visibility visibility) {
    StoredModel stored;
    stored.model.set_name(kModel);
    stored.model.set_owner(owner);
    stored.model.set_visibility(visibility);
    ASSERT_TRUE(store_.PutModel(stored).ok());
  }
  void PutAdapter(const std::string& owner, v1::Visibility visibility) {
    StoredAdapter stored;
    stored.adapter.set_name(kAdapter);
    stored.adapter.set_owner(owner);
    stored.adapter.set_visibility(visibility);
    ASSERT_TRUE(store_.PutAdapter(stored).ok());
  }

  const Viewer ada_ = {.user = "ada"};
  const Viewer bob_ = {.user = "bob"};
  const Viewer root_ = {.user = "root", .sees_all = true};
  TempFolder dir_;
  std::unique_ptr<Database> database_ =
      *Database::Open({.data_dir = dir_.path()});
  ModelStore store_{*database_};
  ModelAccess access_{store_};
};

TEST_F(ModelAccessTest, APrivateModelIsThereForItsOwnerAndAdministratorsOnly) {
  PutModel("users/ada", v1::VISIBILITY_PRIVATE);
  EXPECT_TRUE(access_.CheckChanges(ada_, kModel).ok());
  EXPECT_TRUE(access_.CheckChanges(root_, kModel).ok());
  const absl::Status hidden = access_.CheckSees(bob_, kModel);
  const absl::Status absent = access_.CheckSees(bob_, "models/n");
  EXPECT_TRUE(absl::IsNotFound(hidden)) << hidden;
  EXPECT_EQ(absl::StrReplaceAll(hidden.message(), {{kModel, "models/n"}}),
            absent.message());
  EXPECT_EQ(access_.CheckChanges(bob_, kModel), hidden);
  EXPECT_TRUE(absl::IsAlreadyExists(access_.CheckTakes(bob_, kModel)));
  EXPECT_TRUE(access_.CheckTakes(bob_, "models/n").ok());
  EXPECT_TRUE(access_.CheckTakes(ada_, kModel).ok());
}

TEST_F(ModelAccessTest, ASharedModelIsSeenByAllAndChangedByItsOwner) {
  PutModel("users/ada", v1::VISIBILITY_LAB);
  EXPECT_TRUE(access_.CheckSees(bob_, kModel).ok());
  EXPECT_TRUE(absl::IsPermissionDenied(access_.CheckChanges(bob_, kModel)));
  EXPECT_TRUE(absl::IsPermissionDenied(access_.CheckTakes(bob_, kModel)));
  EXPECT_TRUE(access_.CheckChanges(ada_, kModel).ok());
}

TEST_F(ModelAccessTest, AnAdapterIsSeenByWhoSeesItAndItsModel) {
  PutModel("users/ada", v1::VISIBILITY_PRIVATE);
  PutAdapter("users/ada", v1::VISIBILITY_LAB);
  const absl::Status hidden = access_.CheckSees(bob_, kAdapter);
  EXPECT_TRUE(absl::IsNotFound(hidden)) << hidden;
  PutModel("users/ada", v1::VISIBILITY_LAB);
  EXPECT_TRUE(access_.CheckSees(bob_, kAdapter).ok());
  PutAdapter("users/ada", v1::VISIBILITY_PRIVATE);
  EXPECT_EQ(access_.CheckSees(bob_, kAdapter), hidden);
  EXPECT_TRUE(access_.CheckSees(bob_, kModel).ok());
}

TEST_F(ModelAccessTest, AllThatIsNamedHasToBeSeen) {
  PutModel("users/ada", v1::VISIBILITY_LAB);
  PutAdapter("users/ada", v1::VISIBILITY_PRIVATE);
  const NamedModels both = {.models = {kModel}, .adapters = {kAdapter}};
  EXPECT_TRUE(access_.CheckSeesAll(ada_, both).ok());
  EXPECT_TRUE(absl::IsNotFound(access_.CheckSeesAll(bob_, both)));
  EXPECT_TRUE(
      access_.CheckSeesAll(bob_, {.models = {kModel}, .adapters = {}}).ok());
}

TEST_F(ModelAccessTest, WhatIsFromBeforeThereWereOwnersIsShared) {
  PutModel("", v1::VISIBILITY_UNSPECIFIED);
  EXPECT_TRUE(access_.CheckSees(bob_, kModel).ok());
  EXPECT_TRUE(absl::IsPermissionDenied(access_.CheckChanges(bob_, kModel)));
  EXPECT_TRUE(
      access_.CheckChanges({.user = std::string(kOwnerUser)}, kModel).ok());
}

TEST_F(ModelAccessTest, AJobMayGiveANameThatIsFreeOrItsOwnersAlone) {
  PutModel("users/ada", v1::VISIBILITY_LAB);
  PutAdapter("users/ada", v1::VISIBILITY_PRIVATE);
  v1::JobSpec spec;
  spec.mutable_fine_tune()->set_model(kModel);
  spec.mutable_fine_tune()->set_output_adapter(kAdapter);
  EXPECT_TRUE(CheckTakesOutputs(access_, ada_, spec).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(CheckTakesOutputs(access_, bob_, spec)));
  spec.mutable_fine_tune()->set_output_adapter("models/m/adapters/free");
  EXPECT_TRUE(CheckTakesOutputs(access_, bob_, spec).ok());
  EXPECT_TRUE(CheckTakesOutputs(access_, bob_, v1::JobSpec()).ok());
}

}  // namespace
}  // namespace dissonance
