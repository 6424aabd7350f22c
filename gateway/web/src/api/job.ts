import { address, call } from "./call";
import type { JobChange } from "./types";

export const jobsAt = (projectId: string) => address("jobs", { projectId });
/** Stops a job, or lets one that is dead or cancelled run again. */
export const changeJob = (jobId: number, action: "cancel" | "retry") => call<JobChange>(address(`jobs/${jobId}/${action}`), "POST");
