import { address, call } from "./call";
import type { Member, PoolUsage, Project, ProjectOptions, ProjectRole } from "./types";

export const projectsAt = () => address("projects");
export const projects = () => call<Project[]>(projectsAt());
export const optionsAt = (projectId: string) => address(`projects/${projectId}/configuration`);
export const options = (projectId: string) => call<ProjectOptions>(optionsAt(projectId));
export const changeOptions = (projectId: string, changes: Partial<ProjectOptions>) => call<ProjectOptions>(optionsAt(projectId), "PATCH", changes);

export const membersAt = (projectId: string) => address(`projects/${projectId}/members`);
export const members = (projectId: string) => call<Member[]>(membersAt(projectId));
/** Adds an account to a project, or gives a member another role. */
export const setMember = (projectId: string, username: string, role: ProjectRole) => call<unknown>(membersAt(projectId), "PUT", { username, role });
export const removeMember = (projectId: string, accountId: string) => call<unknown>(`${membersAt(projectId)}/${accountId}`, "DELETE");

/** pool: the range of its first pool; without it, the whole overlay. */
export const makeProject = (project: { name: string; cidr?: string; pool?: string }) => call<unknown>(projectsAt(), "POST", project);

export const poolsAt = (projectId: string) => address("pools", { projectId });
/** The use of a part of a pool; without one, of the whole. */
export const poolMapAt = (poolId: number, prefix?: string) => address(`pools/${poolId}/map`, { prefix });
export const makePool = (pool: { projectId: string; name: string; cidr: string; reserveGateway: boolean }) => call<PoolUsage>(address("pools"), "POST", pool);
export const changePool = ({ projectId, name }: PoolUsage, changes: { cidr?: string; enabled?: boolean }) =>
  call<PoolUsage>(address("pools", { projectId, name }), "PATCH", changes);
export const removePool = ({ projectId, name }: PoolUsage) => call<unknown>(address("pools", { projectId, name }), "DELETE");
