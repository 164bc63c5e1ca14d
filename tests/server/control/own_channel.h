// A channel that shares no connection with another, for large messages.
#ifndef DISSONANCE_TESTS_SERVER_CONTROL_OWN_CHANNEL_H_
#define DISSONANCE_TESTS_SERVER_CONTROL_OWN_CHANNEL_H_

#include <memory>
#include <string>

#include "grpcpp/channel.h"
#include "grpcpp/create_channel.h"

namespace dissonance {

inline std::shared_ptr<grpc::Channel> OpenOwnChannel(const std::string& address,
                                                     int max_message_bytes) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(max_message_bytes);
  arguments.SetMaxSendMessageSize(max_message_bytes);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(),
                                   arguments);
}

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_SERVER_CONTROL_OWN_CHANNEL_H_
