import { address, call, plain } from "./call";
import type { HostNode, InterfaceValues, NodeInterface } from "./types";

export const nodesAt = () => address("nodes");
export const enabledNodesAt = (projectId: string) => address("nodes/enabled", { projectId });
export const changeNode = (nodeId: string, changes: { desiredState?: HostNode["desiredState"]; repair?: boolean }) =>
  call<HostNode>(address(`nodes/${nodeId}`), "PATCH", changes);

/** The WireGuard interface of this name: added to the node, or changed. */
export const setInterface = (nodeId: string, name: string, values: InterfaceValues) =>
  call<NodeInterface>(address(`nodes/${nodeId}/interfaces/${plain(name)}`), "PUT", values);
export const removeInterface = (nodeId: string, name: string) => call<unknown>(address(`nodes/${nodeId}/interfaces/${plain(name)}`), "DELETE");
