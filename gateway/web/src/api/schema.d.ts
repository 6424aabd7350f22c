// Generated from /openapi.json of the gateway: NEBULA_WRITE_SURFACE=1 make test-stories T=console writes it anew.
/* eslint-disable */
export interface components {
    schemas: {
        AcceptInvitation: {
            code: string;
            password: string;
            username: string;
        };
        AcceptedInvitation: {
            accountId: string;
        };
        AccessCheck: {
            check: string;
            detail: string;
            passed: boolean;
            ruleId?: number | null;
        };
        AccessReach: {
            from: components["schemas"]["AccessSide"];
            icmp: boolean;
            tcp: string[];
            to: components["schemas"]["AccessSide"];
            udp: string[];
        };
        AccessSide: {
            devices: number;
            groups: string[];
            names: string[];
        };
        Account: {
            accountId: string;
            createdAt: string;
            disabledAt?: string | null;
            lastSeenAt?: string | null;
            role: components["schemas"]["AccountRole"];
            sessions: number;
            username: string;
        };
        AccountChanges: {
            disabled?: boolean | null;
            role?: components["schemas"]["AccountRole"] | null;
        };
        /** @enum {string} */
        AccountRole: "admin" | "member";
        /** @enum {string} */
        Action: "NoOp" | "DoUpdate" | "DoConfigUpdate";
        Anchor: {
            attention: boolean;
            deviceId: string;
            id: string;
            kind: string;
            name: string;
            state: string;
        };
        ApiErrors: {
            errors: components["schemas"]["DnapiError"][];
        };
        Approval: {
            enrolmentId: string;
            expiresAt: string;
        };
        AudioCapability: {
            codec: string;
            maxChannels?: number | null;
        };
        Authority: {
            curve: components["schemas"]["Curve"];
            daysLeft: number;
            fingerprint: string;
            name: string;
            notAfter: string;
            notBefore: string;
            projects: string[];
            version: number;
            warning?: string | null;
        };
        Bookmark: {
            contentType: string;
            duration?: number | null;
            fileId: string;
            folder: string;
            kind: components["schemas"]["FileKind"];
            name: string;
            projectId: string;
            seconds: number;
            updatedAt: string;
        };
        Bundle: {
            bytesPerSecond: number;
            from: string;
            relayed: number;
            to: string;
            tunnels: number;
        };
        Call: {
            counter: number;
            hostID: string;
            message: string;
            signature: string;
            version: number;
        };
        Capabilities: {
            /** @default false */
            allCodecs?: boolean;
            /** @default [] */
            audio?: components["schemas"]["AudioCapability"][];
            /** @default [] */
            containers?: string[];
            /** @default false */
            hdr?: boolean;
            /** @default false */
            hls?: boolean;
            /** @default false */
            interlaced?: boolean;
            /** @default null */
            maxHeight?: number | null;
            /** @default [] */
            video?: components["schemas"]["VideoCapability"][];
        };
        Certificate: {
            curve: components["schemas"]["Curve"];
            deviceId: string;
            deviceName: string;
            fingerprint: string;
            groups: string[];
            issuedAt: string;
            networks: string[];
            notAfter: string;
            notBefore: string;
            projectId: string;
            revokedAt?: string | null;
            version: number;
        };
        Change: {
            action: string;
            event?: number | null;
            id: string;
            project?: string | null;
            subject: string;
        };
        Changed: {
            files: number;
        };
        /** @enum {string} */
        ChangedJobState: "available" | "blocked" | "cancelling" | "cancelled";
        Check: {
            detail: string;
            hint?: string | null;
            name: string;
            ok: boolean;
        };
        CheckForUpdate: {
            updateAvailable: boolean;
        };
        /** @enum {string} */
        Cipher: "aes" | "chachapoly";
        Conversion: {
            wanted: boolean;
        };
        CreatePeers: {
            peers: components["schemas"]["NewPeer"][];
            projectId: string;
            strategy?: string;
            wait?: number;
        };
        CreatePersonalToken: {
            days?: number | null;
            name: string;
            scopes: string[];
        };
        /** @enum {string} */
        Curve: "25519" | "P256";
        Data_CheckForUpdate: {
            data: {
                updateAvailable: boolean;
            };
        };
        Data_Downloads: {
            data: {
                container: Record<string, never>;
                dnclient: Record<string, never>;
                mobile: Record<string, never>;
            };
        };
        Data_Enrollment: {
            data: {
                config: string;
                counter: number;
                endpointOIDC?: Record<string, never> | null;
                host: components["schemas"]["Host"];
                hostID: string;
                network: components["schemas"]["Network"];
                organization: components["schemas"]["Organization"];
                trustedKeys: string;
            };
        };
        Data_LongPollAnswer: {
            data: {
                action: components["schemas"]["Action"];
                responseToken: string;
            };
        };
        Data_PreAuth: {
            data: {
                loginURL: string;
                pollToken: string;
            };
        };
        Data_PreAuthPoll: {
            data: {
                enrollmentCode: string;
                state: components["schemas"]["PreAuthState"];
            };
        };
        Data_SignedAnswer: {
            data: {
                message: string;
                signature: string;
                version: number;
            };
        };
        /** @enum {string} */
        DesiredState: "active" | "draining" | "disabled";
        Device: {
            certificateNotAfter?: string | null;
            curve: components["schemas"]["Curve"];
            deviceId: string;
            endpoints: string[];
            fingerprint?: string | null;
            groups: string[];
            lastSeenAt?: string | null;
            name: string;
            nebulaIp?: string | null;
            owner?: string | null;
            pool?: string | null;
            projectId: string;
            registeredAt: string;
            revokedAt?: string | null;
            role: components["schemas"]["DeviceRole"];
        };
        /** @enum {string} */
        DeviceRole: "host" | "lighthouse" | "relay";
        /** @enum {string} */
        Direction: "inbound" | "outbound";
        Disk: {
            free: number;
            name: string;
            reserve: number;
            size: number;
        };
        DnapiError: {
            code: string;
            message: string;
            path?: string;
        };
        Downloads: {
            container: Record<string, never>;
            dnclient: Record<string, never>;
            mobile: Record<string, never>;
        };
        Draft: {
            add?: components["schemas"]["Rule"][];
            inbound?: string | null;
            outbound?: string | null;
            projectId: string;
            remove?: number[];
        };
        Drift: {
            allowedIps?: string[];
            kind: components["schemas"]["DriftKind"];
            publicKey: string;
        };
        /** @enum {string} */
        DriftKind: "unknown" | "missing" | "allowedIps" | "presharedKey";
        EnabledNode: {
            activePeers: number;
            eligible: boolean;
            local: boolean;
            maxPeers: number;
            name: string;
            nodeId: string;
            reason?: string | null;
            score: number;
            state: components["schemas"]["Liveness"];
        };
        EnrollRequest: {
            code: string;
            deviceId?: string | null;
            dhPubkey?: string;
            edPubkey?: string;
            endpoints?: string[];
            hostPubkeyP256?: string;
            name?: string | null;
            nebulaPubkeyP256?: string;
            timestamp: string;
        };
        Enrollment: {
            config: string;
            counter: number;
            endpointOIDC?: Record<string, never> | null;
            host: components["schemas"]["Host"];
            hostID: string;
            network: components["schemas"]["Network"];
            organization: components["schemas"]["Organization"];
            trustedKeys: string;
        };
        Enrolment: {
            address?: string | null;
            createdAt: string;
            createdBy: string;
            deviceId?: string | null;
            enrolmentId: string;
            expiresAt: string;
            groups: string[];
            name?: string | null;
            projectId: string;
            role: components["schemas"]["DeviceRole"];
            state: components["schemas"]["EnrolmentState"];
            uses: number;
            usesMax: number;
        };
        EnrolmentRequest: {
            address?: string | null;
            deviceId?: string | null;
            endpoints?: string[];
            groups?: string[];
            lifetimeSeconds?: number | null;
            name?: string | null;
            projectId: string;
            role?: components["schemas"]["DeviceRole"] | null;
            uses?: number | null;
        };
        /** @enum {string} */
        EnrolmentState: "open" | "used" | "expired" | "revoked";
        Envelope_AcceptedInvitation: {
            data: {
                accountId: string;
            };
            success: boolean;
        };
        Envelope_Approval: {
            data: {
                enrolmentId: string;
                expiresAt: string;
            };
            success: boolean;
        };
        Envelope_Changed: {
            data: {
                files: number;
            };
            success: boolean;
        };
        Envelope_Device: {
            data: {
                certificateNotAfter?: string | null;
                curve: components["schemas"]["Curve"];
                deviceId: string;
                endpoints: string[];
                fingerprint?: string | null;
                groups: string[];
                lastSeenAt?: string | null;
                name: string;
                nebulaIp?: string | null;
                owner?: string | null;
                pool?: string | null;
                projectId: string;
                registeredAt: string;
                revokedAt?: string | null;
                role: components["schemas"]["DeviceRole"];
            };
            success: boolean;
        };
        Envelope_Explanation: {
            data: {
                allowed: boolean;
                checks: components["schemas"]["AccessCheck"][];
                stoppedBy?: string | null;
            };
            success: boolean;
        };
        Envelope_File: {
            data: {
                contentType: string;
                deletedAt?: string | null;
                duration?: number | null;
                error?: string | null;
                fileId: string;
                folder?: string;
                jobId?: number | null;
                kind?: components["schemas"]["FileKind"];
                name: string;
                owner?: string | null;
                progress?: number | null;
                projectId: string;
                renditions: components["schemas"]["Rendition"][];
                resumeAt?: number | null;
                sha256: string;
                size: number;
                state: components["schemas"]["FileState"];
                summary?: string[];
                tags?: string[];
                uploadedAt: string;
                warnings?: string[];
            };
            success: boolean;
        };
        Envelope_Groups: {
            data: {
                groups: string[];
            };
            success: boolean;
        };
        Envelope_Identity: {
            data: {
                accountId: string;
                role: components["schemas"]["AccountRole"];
                username: string;
            };
            success: boolean;
        };
        Envelope_Job: {
            data: {
                attempt: number;
                cancelRequested: boolean;
                detail?: unknown;
                enqueuedAt: string;
                errors: unknown;
                finishedAt?: string | null;
                jobId: number;
                kind: string;
                maxAttempts: number;
                payload: unknown;
                priority: number;
                progress?: number | null;
                projectId?: string | null;
                result?: unknown;
                runAt?: string | null;
                startedAt?: string | null;
                state: components["schemas"]["JobState"];
                worker?: string | null;
            };
            success: boolean;
        };
        Envelope_JobChange: {
            data: {
                jobId: number;
                state: components["schemas"]["ChangedJobState"];
            };
            success: boolean;
        };
        Envelope_JoinedProject: {
            data: {
                projectId: string;
            };
            success: boolean;
        };
        Envelope_Link: {
            data: {
                expiresAt: string;
                path: string;
            };
            success: boolean;
        };
        Envelope_MadeFrom: {
            data: {
                waiting: number;
            };
            success: boolean;
        };
        Envelope_MadeShare: {
            data: {
                expiresAt?: string | null;
                path: string;
                shareId: string;
            };
            success: boolean;
        };
        Envelope_NetworkPicture: {
            data: {
                anchors: components["schemas"]["Anchor"][];
                asOf: string;
                bundles: components["schemas"]["Bundle"][];
                groups: components["schemas"]["NetworkGroup"][];
                partners: components["schemas"]["Partner"][];
                projectId: string;
                tunnels: number;
            };
            success: boolean;
        };
        Envelope_NewEnrolment: {
            data: {
                code: string;
                command?: string | null;
                enrolmentId: string;
                expiresAt: string;
                nebulactlSha256?: string | null;
                qrPng: string;
                url: string;
            };
            success: boolean;
        };
        Envelope_NewInvitation: {
            data: {
                code: string;
                expiresAt: string;
                invitationId: string;
                url: string;
            };
            success: boolean;
        };
        Envelope_NewPersonalToken: {
            data: components["schemas"]["PersonalToken"] & {
                token: string;
            };
            success: boolean;
        };
        Envelope_NewSecret: {
            data: {
                keyId: string;
                nodeId: string;
                secret: string;
            };
            success: boolean;
        };
        Envelope_NewTotp: {
            data: {
                qrPng: string;
                secret: string;
                url: string;
            };
            success: boolean;
        };
        Envelope_Node: {
            data: {
                activePeers: number;
                capabilities: string[];
                cidr?: string | null;
                desiredState: components["schemas"]["DesiredState"];
                device?: string | null;
                deviceId?: string | null;
                eligible: boolean;
                endpoint: string;
                health?: components["schemas"]["MachineHealth"] | null;
                interfaces: components["schemas"]["NodeInterface"][];
                labels: {
                    [key: string]: string;
                };
                local: boolean;
                maxPeers: number;
                name: string;
                nodeId: string;
                obstacles: string[];
                project?: string | null;
                projectId?: string | null;
                reason?: string | null;
                repair: boolean;
                score: number;
                secrets: number;
                seenAt?: string | null;
                softMaxPeers?: number | null;
                state: components["schemas"]["Liveness"];
                weight: number;
            };
            success: boolean;
        };
        Envelope_NodeDevice: {
            data: {
                deviceId?: string | null;
            };
            success: boolean;
        };
        Envelope_NodeId: {
            data: {
                nodeId: string;
            };
            success: boolean;
        };
        Envelope_NodeInterface: {
            data: {
                acknowledgedGeneration: number;
                dns: string[];
                drift: components["schemas"]["Drift"][];
                endpoint?: string | null;
                error?: string | null;
                generation: number;
                interfaceId: string;
                keepalive: number;
                listenPort: number;
                mtu: number;
                name: string;
                pools: string[];
                publicKey?: string | null;
            };
            success: boolean;
        };
        Envelope_OpenInvitation: {
            data: {
                expiresAt: string;
                invitedBy: string;
                project?: string | null;
                role: string;
            };
            success: boolean;
        };
        Envelope_Options: {
            data: {
                certificateVersions?: number[] | null;
                cipher?: components["schemas"]["Cipher"] | null;
                dnsDomain?: string | null;
                dnsPort?: number | null;
                inbound?: components["schemas"]["Stance"] | null;
                lifetimeSeconds?: number | null;
                memberReach?: components["schemas"]["MemberReach"] | null;
                mtu?: number | null;
                outbound?: components["schemas"]["Stance"] | null;
                punchy?: boolean | null;
                syncConnections?: number | null;
                syncHashers?: number | null;
                syncOrder?: components["schemas"]["SyncOrder"] | null;
                syncPendingKib?: number | null;
                syncWrites?: number | null;
                version?: number | null;
            };
            success: boolean;
        };
        Envelope_Peer: {
            data: {
                addresses: string[];
                configOutdated: boolean;
                createdAt: string;
                createdBy: string;
                disabled: boolean;
                endpoint?: string | null;
                expiresAt?: string | null;
                fileName: string;
                groups: string[];
                handshakeAt?: string | null;
                movingTo?: string | null;
                name: string;
                networks: string[];
                node?: string | null;
                nodeId?: string | null;
                peerId: string;
                preshared: boolean;
                projectId: string;
                publicKey: string;
                reach: components["schemas"]["Reach"];
                reason?: string | null;
                receivedBytes: number;
                sentBytes: number;
                state: components["schemas"]["PeerState"];
            };
            success: boolean;
        };
        Envelope_PeerConfig: {
            data: {
                conf: string;
                fileName: string;
            };
            success: boolean;
        };
        Envelope_Playback: {
            data: {
                decision: components["schemas"]["PlaybackDecision"];
                expiresAt?: string | null;
                reasons: components["schemas"]["PlaybackReason"][];
                rendition?: string | null;
                url?: string | null;
            };
            success: boolean;
        };
        Envelope_PoolMap: {
            data: {
                cellLength: number;
                cells: components["schemas"]["MapCell"][];
                cidr: string;
                gateway?: string | null;
                name: string;
                poolId: number;
                prefix: string;
                projectId: string;
                reservations: components["schemas"]["MapReservation"][];
            };
            success: boolean;
        };
        Envelope_PoolUsage: {
            data: {
                allocated: string;
                cidr: string;
                enabled: boolean;
                free: string;
                name: string;
                poolId: number;
                projectId: string;
                quarantined: string;
                reserved: string;
                size: string;
            };
            success: boolean;
        };
        Envelope_Preview: {
            data: {
                gains: components["schemas"]["AccessReach"][];
                losses: components["schemas"]["AccessReach"][];
                truncated: boolean;
            };
            success: boolean;
        };
        Envelope_Project: {
            data: {
                cidr?: string | null;
                createdAt: string;
                devices: number;
                files: number;
                maxBytes?: number | null;
                name: string;
                projectId: string;
                usedBytes: number;
            };
            success: boolean;
        };
        Envelope_RecoveryCodes: {
            data: {
                recoveryCodes: string[];
            };
            success: boolean;
        };
        Envelope_Registration: {
            data: {
                deviceId: string;
                deviceName: string;
                nebulaIp: string;
                projectId: string;
                zipBundle: string;
                zipSize: number;
            };
            success: boolean;
        };
        Envelope_Release: {
            data: {
                deviceId: string;
                nebulaIp: string;
            };
            success: boolean;
        };
        Envelope_Retired: {
            data: {
                keyId: string;
            };
            success: boolean;
        };
        Envelope_Revocation: {
            data: {
                acknowledged: number;
                deviceId: string;
                fingerprints: string[];
                members: number;
                missing: string[];
                name: string;
                revokedAt?: string | null;
                revokedEverywhereAt?: string | null;
                version?: number | null;
            };
            success: boolean;
        };
        Envelope_RotationState: {
            data: {
                state: components["schemas"]["RotationStep"];
            };
            success: boolean;
        };
        Envelope_Route: {
            data: {
                deviceId: string;
                metric?: number | null;
                mtu?: number | null;
                network: string;
                projectId: string;
            };
            success: boolean;
        };
        Envelope_Rule: {
            data: {
                direction: components["schemas"]["Direction"];
                forDevice?: string | null;
                forGroup?: string | null;
                localCidr?: string | null;
                note?: string;
                portFirst?: number | null;
                portLast?: number | null;
                projectId: string;
                protocol: components["schemas"]["Protocol"];
                remoteCidr?: string | null;
                remoteDevice?: string | null;
                remoteGroups?: string[];
                ruleId?: number | null;
            };
            success: boolean;
        };
        Envelope_Shared: {
            data: components["schemas"]["SharedFile"] | components["schemas"]["SharedFolder"];
            success: boolean;
        };
        Envelope_System: {
            data: {
                disks: components["schemas"]["Disk"][];
                power?: components["schemas"]["Power"] | null;
                storage?: components["schemas"]["Storage"] | null;
                temperatureCelsius?: number | null;
                version: string;
            };
            success: boolean;
        };
        Envelope_TotpState: {
            data: {
                enabled: boolean;
                recoveryCodes: number;
            };
            success: boolean;
        };
        Envelope_Value: {
            data: unknown;
            success: boolean;
        };
        Envelope_Vec_Authority: {
            data: {
                curve: components["schemas"]["Curve"];
                daysLeft: number;
                fingerprint: string;
                name: string;
                notAfter: string;
                notBefore: string;
                projects: string[];
                version: number;
                warning?: string | null;
            }[];
            success: boolean;
        };
        Envelope_Vec_Bookmark: {
            data: {
                contentType: string;
                duration?: number | null;
                fileId: string;
                folder: string;
                kind: components["schemas"]["FileKind"];
                name: string;
                projectId: string;
                seconds: number;
                updatedAt: string;
            }[];
            success: boolean;
        };
        Envelope_Vec_EnabledNode: {
            data: {
                activePeers: number;
                eligible: boolean;
                local: boolean;
                maxPeers: number;
                name: string;
                nodeId: string;
                reason?: string | null;
                score: number;
                state: components["schemas"]["Liveness"];
            }[];
            success: boolean;
        };
        Envelope_Vec_Folder: {
            data: {
                files: number;
                folder: string;
                size: number;
                uploadedAt: string;
            }[];
            success: boolean;
        };
        Envelope_Vec_Invitation: {
            data: {
                acceptedAt?: string | null;
                acceptedBy?: string | null;
                createdAt: string;
                expiresAt: string;
                invitationId: string;
                invitedBy: string;
                note?: string | null;
                projectId?: string | null;
                role: string;
                state: string;
            }[];
            success: boolean;
        };
        Envelope_Vec_Member: {
            data: {
                accountId: string;
                addedAt: string;
                disabled: boolean;
                role: components["schemas"]["ProjectRole"];
                username: string;
            }[];
            success: boolean;
        };
        Envelope_Vec_PeerResult: {
            data: {
                error?: components["schemas"]["ItemError"] | null;
                item: number;
                made?: boolean | null;
                peer?: components["schemas"]["Peer"] | null;
            }[];
            success: boolean;
        };
        Envelope_Vec_PersonalToken: {
            data: {
                actions: string[];
                expiresAt: string;
                lastUsedAt?: string | null;
                lastUsedFrom?: string | null;
                madeAt: string;
                name: string;
                scopes: string[];
                tokenId: string;
            }[];
            success: boolean;
        };
        Envelope_Vec_Quota: {
            data: {
                id: string;
                maxBytes?: number | null;
                name: string;
                subject: components["schemas"]["QuotaSubject"];
                usedBytes: number;
            }[];
            success: boolean;
        };
        Envelope_Vec_Rotation: {
            data: {
                changedAt: string;
                incoming: string;
                incomingFingerprint: string;
                missing: string[];
                project: string;
                projectId: string;
                retiring: string;
                startedAt: string;
                startedBy: string;
                state: components["schemas"]["RotationStep"];
                waitsFor: number;
            }[];
            success: boolean;
        };
        Envelope_Vec_Secret: {
            data: {
                keyId: string;
                madeAt: string;
                madeBy: string;
                retiredAt?: string | null;
                usedAt?: string | null;
            }[];
            success: boolean;
        };
        Envelope_Vec_Series: {
            data: {
                at: number[];
                key: string;
                name: string;
                values: number[];
            }[];
            success: boolean;
        };
        Envelope_Vec_Session: {
            data: {
                client?: string | null;
                current?: boolean;
                expiresAt: string;
                lastSeenAt?: string | null;
                openedAt: string;
                sessionId: string;
                userAgent?: string | null;
            }[];
            success: boolean;
        };
        Envelope_Vec_Tag: {
            data: {
                files: number;
                tag: string;
            }[];
            success: boolean;
        };
        Envelope_i32: {
            data: number;
            success: boolean;
        };
        Event: {
            action: string;
            actor: string;
            actorId?: string | null;
            actorKind?: string;
            at: string;
            client?: string | null;
            detail: unknown;
            eventId: number;
            projectId?: string | null;
            requestId?: string | null;
            subject: string;
            subjectId: string;
        };
        Explanation: {
            allowed: boolean;
            checks: components["schemas"]["AccessCheck"][];
            stoppedBy?: string | null;
        };
        Failure: {
            detail: string;
            error: string;
            field?: string | null;
            hint?: string | null;
            reason?: string | null;
            sqlstate: string;
            success: boolean;
        };
        File: {
            contentType: string;
            deletedAt?: string | null;
            duration?: number | null;
            error?: string | null;
            fileId: string;
            folder?: string;
            jobId?: number | null;
            kind?: components["schemas"]["FileKind"];
            name: string;
            owner?: string | null;
            progress?: number | null;
            projectId: string;
            renditions: components["schemas"]["Rendition"][];
            resumeAt?: number | null;
            sha256: string;
            size: number;
            state: components["schemas"]["FileState"];
            summary?: string[];
            tags?: string[];
            uploadedAt: string;
            warnings?: string[];
        };
        /** @enum {string} */
        FileKind: "film" | "sound" | "picture" | "other";
        /** @enum {string} */
        FileState: "waiting" | "processing" | "ready" | "failed";
        Folder: {
            files: number;
            folder: string;
            size: number;
            uploadedAt: string;
        };
        Groups: {
            groups: string[];
        };
        Health: {
            checks?: components["schemas"]["Check"][];
            status: components["schemas"]["HealthStatus"];
            version: string;
        };
        /** @enum {string} */
        HealthStatus: "ok" | "degraded" | "failed";
        Host: {
            id: string;
            ipAddress: string;
            ipAddresses?: string[];
            name: string;
        };
        Identity: {
            accountId: string;
            role: components["schemas"]["AccountRole"];
            username: string;
        };
        Invitation: {
            acceptedAt?: string | null;
            acceptedBy?: string | null;
            createdAt: string;
            expiresAt: string;
            invitationId: string;
            invitedBy: string;
            note?: string | null;
            projectId?: string | null;
            role: string;
            state: string;
        };
        InvitationCode: {
            code: string;
        };
        InvitationRequest: {
            lifetimeSeconds?: number | null;
            note?: string | null;
            role: string;
        };
        ItemError: {
            detail: string;
            hint?: string | null;
            sqlstate: string;
        };
        Job: {
            attempt: number;
            cancelRequested: boolean;
            detail?: unknown;
            enqueuedAt: string;
            errors: unknown;
            finishedAt?: string | null;
            jobId: number;
            kind: string;
            maxAttempts: number;
            payload: unknown;
            priority: number;
            progress?: number | null;
            projectId?: string | null;
            result?: unknown;
            runAt?: string | null;
            startedAt?: string | null;
            state: components["schemas"]["JobState"];
            worker?: string | null;
        };
        JobChange: {
            jobId: number;
            state: components["schemas"]["ChangedJobState"];
        };
        /** @enum {string} */
        JobState: "blocked" | "available" | "running" | "succeeded" | "dead" | "cancelled";
        JoinedProject: {
            projectId: string;
        };
        Link: {
            expiresAt: string;
            path: string;
        };
        /** @enum {string} */
        Liveness: "healthy" | "late" | "lost" | "unknown";
        LoginRequest: {
            code?: string | null;
            password: string;
            username: string;
        };
        LongPollAnswer: {
            action: components["schemas"]["Action"];
            responseToken: string;
        };
        MachineHealth: {
            /** @default 0 */
            diskBytes?: number;
            /** @default 0 */
            diskFreeBytes?: number;
            /** @default 0 */
            load?: number;
            /** @default 0 */
            memoryAvailableBytes?: number;
            /** @default 0 */
            memoryBytes?: number;
            /** @default 0 */
            processors?: number;
        };
        MadeFrom: {
            waiting: number;
        };
        MadeShare: {
            expiresAt?: string | null;
            path: string;
            shareId: string;
        };
        MakeFrom: {
            seconds: number;
        };
        MapCell: {
            cidr: string;
            deviceId?: string | null;
            held: number;
            name?: string | null;
            quarantined: number;
        };
        MapReservation: {
            first: string;
            forGroup: boolean;
            label: string;
            last: string;
            reason?: string | null;
        };
        Member: {
            accountId: string;
            addedAt: string;
            disabled: boolean;
            role: components["schemas"]["ProjectRole"];
            username: string;
        };
        /** @enum {string} */
        MemberReach: "overlay" | "internet";
        MoveFolder: {
            folder: string;
            projectId: string;
            to: string;
        };
        Network: {
            cidr: string;
            cidrs?: string[];
            curve: string;
            id: string;
            name: string;
            names?: components["schemas"]["OverlayNames"] | null;
        };
        NetworkGroup: {
            attention: number;
            devices: number;
            id: string;
            name: string;
            online: number;
        };
        NetworkPicture: {
            anchors: components["schemas"]["Anchor"][];
            asOf: string;
            bundles: components["schemas"]["Bundle"][];
            groups: components["schemas"]["NetworkGroup"][];
            partners: components["schemas"]["Partner"][];
            projectId: string;
            tunnels: number;
        };
        NewBookmark: {
            duration?: number | null;
            seconds: number;
        };
        NewEnrolment: {
            code: string;
            command?: string | null;
            enrolmentId: string;
            expiresAt: string;
            nebulactlSha256?: string | null;
            qrPng: string;
            url: string;
        };
        NewInvitation: {
            code: string;
            expiresAt: string;
            invitationId: string;
            url: string;
        };
        NewPeer: {
            address?: string | null;
            disabled?: boolean;
            expiresAt?: string | null;
            groups?: string[];
            name: string;
            networks?: string[];
            peerId?: string | null;
            preshared?: boolean;
            presharedKey?: components["schemas"]["PresharedKey"] | null;
            publicKey: string;
            reach?: components["schemas"]["Reach"];
        };
        NewPersonalToken: components["schemas"]["PersonalToken"] & {
            token: string;
        };
        NewPool: {
            cidr: string;
            name: string;
            projectId: string;
            reserveGateway?: boolean;
        };
        NewProject: {
            cidr?: string | null;
            name: string;
            pool?: string | null;
        };
        NewSecret: {
            keyId: string;
            nodeId: string;
            secret: string;
        };
        NewShare: {
            allowsDownload?: boolean;
            expiresAt?: string | null;
            fileId?: string | null;
            folder?: string | null;
            note?: string | null;
            password?: string | null;
            projectId?: string | null;
        };
        NewTotp: {
            qrPng: string;
            secret: string;
            url: string;
        };
        Node: {
            activePeers: number;
            capabilities: string[];
            cidr?: string | null;
            desiredState: components["schemas"]["DesiredState"];
            device?: string | null;
            deviceId?: string | null;
            eligible: boolean;
            endpoint: string;
            health?: components["schemas"]["MachineHealth"] | null;
            interfaces: components["schemas"]["NodeInterface"][];
            labels: {
                [key: string]: string;
            };
            local: boolean;
            maxPeers: number;
            name: string;
            nodeId: string;
            obstacles: string[];
            project?: string | null;
            projectId?: string | null;
            reason?: string | null;
            repair: boolean;
            score: number;
            secrets: number;
            seenAt?: string | null;
            softMaxPeers?: number | null;
            state: components["schemas"]["Liveness"];
            weight: number;
        };
        NodeChanges: {
            capabilities?: string[] | null;
            desiredState?: components["schemas"]["DesiredState"] | null;
            endpoint?: string | null;
            labels?: {
                [key: string]: string;
            } | null;
            maxPeers?: number | null;
            name?: string | null;
            repair?: boolean | null;
            softMaxPeers?: number | null;
            weight?: number | null;
        };
        NodeDevice: {
            deviceId?: string | null;
        };
        NodeId: {
            nodeId: string;
        };
        NodeInterface: {
            acknowledgedGeneration: number;
            dns: string[];
            drift: components["schemas"]["Drift"][];
            endpoint?: string | null;
            error?: string | null;
            generation: number;
            interfaceId: string;
            keepalive: number;
            listenPort: number;
            mtu: number;
            name: string;
            pools: string[];
            publicKey?: string | null;
        };
        NodeInterfaceRequest: {
            cidr?: string | null;
            dns?: string[] | null;
            endpoint?: string | null;
            keepalive?: number | null;
            listenPort?: number | null;
            mtu?: number | null;
        };
        NodeRequest: {
            capabilities?: string[];
            cidr?: string | null;
            endpoint: string;
            maxPeers?: number | null;
            name: string;
            weight?: number | null;
        };
        OpenInvitation: {
            expiresAt: string;
            invitedBy: string;
            project?: string | null;
            role: string;
        };
        OpenShare: {
            fileId?: string | null;
            password?: string | null;
            token: string;
        };
        Options: {
            certificateVersions?: number[] | null;
            cipher?: components["schemas"]["Cipher"] | null;
            dnsDomain?: string | null;
            dnsPort?: number | null;
            inbound?: components["schemas"]["Stance"] | null;
            lifetimeSeconds?: number | null;
            memberReach?: components["schemas"]["MemberReach"] | null;
            mtu?: number | null;
            outbound?: components["schemas"]["Stance"] | null;
            punchy?: boolean | null;
            syncConnections?: number | null;
            syncHashers?: number | null;
            syncOrder?: components["schemas"]["SyncOrder"] | null;
            syncPendingKib?: number | null;
            syncWrites?: number | null;
            version?: number | null;
        };
        Organization: {
            id: string;
            name: string;
        };
        OverlayNames: {
            domain: string;
            servers: string[];
        };
        Page_Account: {
            counts?: {
                [key: string]: number;
            } | null;
            data: {
                accountId: string;
                createdAt: string;
                disabledAt?: string | null;
                lastSeenAt?: string | null;
                role: components["schemas"]["AccountRole"];
                sessions: number;
                username: string;
            }[];
            next?: string | null;
            success: boolean;
            total?: number | null;
        };
        Page_Certificate: {
            counts?: {
                [key: string]: number;
            } | null;
            data: {
                curve: components["schemas"]["Curve"];
                deviceId: string;
                deviceName: string;
                fingerprint: string;
                groups: string[];
                issuedAt: string;
                networks: string[];
                notAfter: string;
                notBefore: string;
                projectId: string;
                revokedAt?: string | null;
                version: number;
            }[];
            next?: string | null;
            success: boolean;
            total?: number | null;
        };
        Page_Device: {
            counts?: {
                [key: string]: number;
            } | null;
            data: {
                certificateNotAfter?: string | null;
                curve: components["schemas"]["Curve"];
                deviceId: string;
                endpoints: string[];
                fingerprint?: string | null;
                groups: string[];
                lastSeenAt?: string | null;
                name: string;
                nebulaIp?: string | null;
                owner?: string | null;
                pool?: string | null;
                projectId: string;
                registeredAt: string;
                revokedAt?: string | null;
                role: components["schemas"]["DeviceRole"];
            }[];
            next?: string | null;
            success: boolean;
            total?: number | null;
        };
        Page_Enrolment: {
            counts?: {
                [key: string]: number;
            } | null;
            data: {
                address?: string | null;
                createdAt: string;
                createdBy: string;
                deviceId?: string | null;
                enrolmentId: string;
                expiresAt: string;
                groups: string[];
                name?: string | null;
                projectId: string;
                role: components["schemas"]["DeviceRole"];
                state: components["schemas"]["EnrolmentState"];
                uses: number;
                usesMax: number;
            }[];
            next?: string | null;
            success: boolean;
            total?: number | null;
        };
        Page_Event: {
            counts?: {
                [key: string]: number;
            } | null;
            data: {
                action: string;
                actor: string;
                actorId?: string | null;
                actorKind?: string;
                at: string;
                client?: string | null;
                detail: unknown;
                eventId: number;
                projectId?: string | null;
                requestId?: string | null;
                subject: string;
                subjectId: string;
            }[];
            next?: string | null;
            success: boolean;
            total?: number | null;
        };
        Page_File: {
            counts?: {
                [key: string]: number;
            } | null;
            data: {
                contentType: string;
                deletedAt?: string | null;
                duration?: number | null;
                error?: string | null;
                fileId: string;
                folder?: string;
                jobId?: number | null;
                kind?: components["schemas"]["FileKind"];
                name: string;
                owner?: string | null;
                progress?: number | null;
                projectId: string;
                renditions: components["schemas"]["Rendition"][];
                resumeAt?: number | null;
                sha256: string;
                size: number;
                state: components["schemas"]["FileState"];
                summary?: string[];
                tags?: string[];
                uploadedAt: string;
                warnings?: string[];
            }[];
            next?: string | null;
            success: boolean;
            total?: number | null;
        };
        Page_Job: {
            counts?: {
                [key: string]: number;
            } | null;
            data: {
                attempt: number;
                cancelRequested: boolean;
                detail?: unknown;
                enqueuedAt: string;
                errors: unknown;
                finishedAt?: string | null;
                jobId: number;
                kind: string;
                maxAttempts: number;
                payload: unknown;
                priority: number;
                progress?: number | null;
                projectId?: string | null;
                result?: unknown;
                runAt?: string | null;
                startedAt?: string | null;
                state: components["schemas"]["JobState"];
                worker?: string | null;
            }[];
            next?: string | null;
            success: boolean;
            total?: number | null;
        };
        Page_Node: {
            counts?: {
                [key: string]: number;
            } | null;
            data: {
                activePeers: number;
                capabilities: string[];
                cidr?: string | null;
                desiredState: components["schemas"]["DesiredState"];
                device?: string | null;
                deviceId?: string | null;
                eligible: boolean;
                endpoint: string;
                health?: components["schemas"]["MachineHealth"] | null;
                interfaces: components["schemas"]["NodeInterface"][];
                labels: {
                    [key: string]: string;
                };
                local: boolean;
                maxPeers: number;
                name: string;
                nodeId: string;
                obstacles: string[];
                project?: string | null;
                projectId?: string | null;
                reason?: string | null;
                repair: boolean;
                score: number;
                secrets: number;
                seenAt?: string | null;
                softMaxPeers?: number | null;
                state: components["schemas"]["Liveness"];
                weight: number;
            }[];
            next?: string | null;
            success: boolean;
            total?: number | null;
        };
        Page_Peer: {
            counts?: {
                [key: string]: number;
            } | null;
            data: {
                addresses: string[];
                configOutdated: boolean;
                createdAt: string;
                createdBy: string;
                disabled: boolean;
                endpoint?: string | null;
                expiresAt?: string | null;
                fileName: string;
                groups: string[];
                handshakeAt?: string | null;
                movingTo?: string | null;
                name: string;
                networks: string[];
                node?: string | null;
                nodeId?: string | null;
                peerId: string;
                preshared: boolean;
                projectId: string;
                publicKey: string;
                reach: components["schemas"]["Reach"];
                reason?: string | null;
                receivedBytes: number;
                sentBytes: number;
                state: components["schemas"]["PeerState"];
            }[];
            next?: string | null;
            success: boolean;
            total?: number | null;
        };
        Page_PoolUsage: {
            counts?: {
                [key: string]: number;
            } | null;
            data: {
                allocated: string;
                cidr: string;
                enabled: boolean;
                free: string;
                name: string;
                poolId: number;
                projectId: string;
                quarantined: string;
                reserved: string;
                size: string;
            }[];
            next?: string | null;
            success: boolean;
            total?: number | null;
        };
        Page_Project: {
            counts?: {
                [key: string]: number;
            } | null;
            data: {
                cidr?: string | null;
                createdAt: string;
                devices: number;
                files: number;
                maxBytes?: number | null;
                name: string;
                projectId: string;
                usedBytes: number;
            }[];
            next?: string | null;
            success: boolean;
            total?: number | null;
        };
        Page_Route: {
            counts?: {
                [key: string]: number;
            } | null;
            data: {
                deviceId: string;
                metric?: number | null;
                mtu?: number | null;
                network: string;
                projectId: string;
            }[];
            next?: string | null;
            success: boolean;
            total?: number | null;
        };
        Page_Rule: {
            counts?: {
                [key: string]: number;
            } | null;
            data: {
                direction: components["schemas"]["Direction"];
                forDevice?: string | null;
                forGroup?: string | null;
                localCidr?: string | null;
                note?: string;
                portFirst?: number | null;
                portLast?: number | null;
                projectId: string;
                protocol: components["schemas"]["Protocol"];
                remoteCidr?: string | null;
                remoteDevice?: string | null;
                remoteGroups?: string[];
                ruleId?: number | null;
            }[];
            next?: string | null;
            success: boolean;
            total?: number | null;
        };
        Page_Share: {
            counts?: {
                [key: string]: number;
            } | null;
            data: {
                allowsDownload: boolean;
                expiresAt?: string | null;
                fileId?: string | null;
                fileName?: string | null;
                folder?: string | null;
                hasPassword: boolean;
                lastUsedAt?: string | null;
                madeAt: string;
                madeBy: string;
                note?: string | null;
                projectId: string;
                revokedAt?: string | null;
                shareId: string;
                state: components["schemas"]["ShareState"];
                uses: number;
            }[];
            next?: string | null;
            success: boolean;
            total?: number | null;
        };
        Partner: {
            bytesPerSecond: number;
            deviceId: string;
            handshakeSecondsAgo?: number | null;
            kind: string;
            name: string;
            oneSided: boolean;
            relayed: boolean;
            state: string;
        };
        PasswordChange: {
            newPassword: string;
            oldPassword: string;
        };
        Peer: {
            addresses: string[];
            configOutdated: boolean;
            createdAt: string;
            createdBy: string;
            disabled: boolean;
            endpoint?: string | null;
            expiresAt?: string | null;
            fileName: string;
            groups: string[];
            handshakeAt?: string | null;
            movingTo?: string | null;
            name: string;
            networks: string[];
            node?: string | null;
            nodeId?: string | null;
            peerId: string;
            preshared: boolean;
            projectId: string;
            publicKey: string;
            reach: components["schemas"]["Reach"];
            reason?: string | null;
            receivedBytes: number;
            sentBytes: number;
            state: components["schemas"]["PeerState"];
        };
        PeerChanges: {
            disabled?: boolean | null;
            expiresAt?: string | null;
            groups?: string[] | null;
            name?: string | null;
            networks?: string[] | null;
            preshared?: boolean | null;
            publicKey?: string | null;
            reach?: components["schemas"]["Reach"] | null;
        };
        PeerChoice: {
            peerIds: string[];
            strategy?: string | null;
            wait?: number;
        };
        PeerConfig: {
            conf: string;
            fileName: string;
        };
        PeerResult: {
            error?: components["schemas"]["ItemError"] | null;
            item: number;
            made?: boolean | null;
            peer?: components["schemas"]["Peer"] | null;
        };
        /** @enum {string} */
        PeerState: "pending" | "active" | "drifted" | "refused" | "moving" | "disabled" | "leaving" | "unconfirmed";
        PersonalToken: {
            actions: string[];
            expiresAt: string;
            lastUsedAt?: string | null;
            lastUsedFrom?: string | null;
            madeAt: string;
            name: string;
            scopes: string[];
            tokenId: string;
        };
        Place: {
            folder?: string | null;
            name?: string | null;
        };
        Playback: {
            decision: components["schemas"]["PlaybackDecision"];
            expiresAt?: string | null;
            reasons: components["schemas"]["PlaybackReason"][];
            rendition?: string | null;
            url?: string | null;
        };
        /** @enum {string} */
        PlaybackDecision: "direct" | "remux" | "audio" | "full";
        /** @enum {string} */
        PlaybackReason: "container" | "videoCodec" | "videoProfile" | "videoLevel" | "videoBitDepth" | "videoPixelFormat" | "videoHeight" | "videoInterlaced" | "videoHdr" | "audioCodec" | "audioChannels" | "uploadUnknown" | "notMadeYet" | "nothingFits";
        PoolChanges: {
            cidr?: string | null;
            enabled?: boolean | null;
        };
        PoolMap: {
            cellLength: number;
            cells: components["schemas"]["MapCell"][];
            cidr: string;
            gateway?: string | null;
            name: string;
            poolId: number;
            prefix: string;
            projectId: string;
            reservations: components["schemas"]["MapReservation"][];
        };
        PoolUsage: {
            allocated: string;
            cidr: string;
            enabled: boolean;
            free: string;
            name: string;
            poolId: number;
            projectId: string;
            quarantined: string;
            reserved: string;
            size: string;
        };
        Power: {
            batteryPercent?: number | null;
            charger?: boolean | null;
            onBattery: boolean;
        };
        PreAuth: {
            loginURL: string;
            pollToken: string;
        };
        PreAuthPoll: {
            enrollmentCode: string;
            state: components["schemas"]["PreAuthState"];
        };
        /** @enum {string} */
        PreAuthState: "WAITING" | "COMPLETED";
        PresharedKey: string;
        Preview: {
            gains: components["schemas"]["AccessReach"][];
            losses: components["schemas"]["AccessReach"][];
            truncated: boolean;
        };
        Project: {
            cidr?: string | null;
            createdAt: string;
            devices: number;
            files: number;
            maxBytes?: number | null;
            name: string;
            projectId: string;
            usedBytes: number;
        };
        /** @enum {string} */
        ProjectRole: "viewer" | "member" | "admin" | "owner";
        /** @enum {string} */
        Protocol: "any" | "tcp" | "udp" | "icmp";
        Quota: {
            id: string;
            maxBytes?: number | null;
            name: string;
            subject: components["schemas"]["QuotaSubject"];
            usedBytes: number;
        };
        /** @enum {string} */
        QuotaSubject: "project" | "account";
        /** @enum {string} */
        Reach: "overlay" | "all" | "listed";
        RecoveryCodes: {
            recoveryCodes: string[];
        };
        RefreshRequest: {
            refreshToken: string;
        };
        RegisterRequest: {
            deviceId: string;
            deviceName: string;
            endpoints?: string[];
            enrolmentCode?: string | null;
            projectId: string;
            publicKey: string;
            role?: components["schemas"]["DeviceRole"] | null;
        };
        Registration: {
            deviceId: string;
            deviceName: string;
            nebulaIp: string;
            projectId: string;
            zipBundle: string;
            zipSize: number;
        };
        Release: {
            deviceId: string;
            nebulaIp: string;
        };
        Rendition: {
            contentType: string;
            detail: unknown;
            kind: string;
            madeAt: string;
            sha256: string;
            size: number;
        };
        Retired: {
            keyId: string;
        };
        Revocation: {
            acknowledged: number;
            deviceId: string;
            fingerprints: string[];
            members: number;
            missing: string[];
            name: string;
            revokedAt?: string | null;
            revokedEverywhereAt?: string | null;
            version?: number | null;
        };
        Rotation: {
            changedAt: string;
            incoming: string;
            incomingFingerprint: string;
            missing: string[];
            project: string;
            projectId: string;
            retiring: string;
            startedAt: string;
            startedBy: string;
            state: components["schemas"]["RotationStep"];
            waitsFor: number;
        };
        RotationRequest: {
            fingerprint: string;
            projectId: string;
        };
        RotationState: {
            state: components["schemas"]["RotationStep"];
        };
        /** @enum {string} */
        RotationStep: "distributing" | "reissuing" | "retiring" | "done" | "cancelled";
        Route: {
            deviceId: string;
            metric?: number | null;
            mtu?: number | null;
            network: string;
            projectId: string;
        };
        Rule: {
            direction: components["schemas"]["Direction"];
            forDevice?: string | null;
            forGroup?: string | null;
            localCidr?: string | null;
            note?: string;
            portFirst?: number | null;
            portLast?: number | null;
            projectId: string;
            protocol: components["schemas"]["Protocol"];
            remoteCidr?: string | null;
            remoteDevice?: string | null;
            remoteGroups?: string[];
            ruleId?: number | null;
        };
        Secret: {
            keyId: string;
            madeAt: string;
            madeBy: string;
            retiredAt?: string | null;
            usedAt?: string | null;
        };
        Series: {
            at: number[];
            key: string;
            name: string;
            values: number[];
        };
        Session: {
            client?: string | null;
            current?: boolean;
            expiresAt: string;
            lastSeenAt?: string | null;
            openedAt: string;
            sessionId: string;
            userAgent?: string | null;
        };
        SetMember: {
            role: components["schemas"]["ProjectRole"];
            username: string;
        };
        SetQuota: {
            maxBytes?: number | null;
        };
        Share: {
            allowsDownload: boolean;
            expiresAt?: string | null;
            fileId?: string | null;
            fileName?: string | null;
            folder?: string | null;
            hasPassword: boolean;
            lastUsedAt?: string | null;
            madeAt: string;
            madeBy: string;
            note?: string | null;
            projectId: string;
            revokedAt?: string | null;
            shareId: string;
            state: components["schemas"]["ShareState"];
            uses: number;
        };
        /** @enum {string} */
        ShareState: "open" | "revoked" | "expired" | "deleted" | "withdrawn";
        Shared: components["schemas"]["SharedFile"] | components["schemas"]["SharedFolder"];
        SharedEntry: {
            contentType: string;
            duration?: number | null;
            fileId: string;
            name: string;
            poster?: string | null;
            size: number;
            state: components["schemas"]["FileState"];
        };
        SharedFile: {
            contentType: string;
            download?: string | null;
            expiresAt?: string | null;
            name: string;
            play?: components["schemas"]["SharedPath"] | null;
            poster?: string | null;
            size: number;
            sprites?: string | null;
            state: components["schemas"]["FileState"];
            stream?: string | null;
        };
        SharedFolder: {
            expiresAt?: string | null;
            files: components["schemas"]["SharedEntry"][];
            isComplete: boolean;
            name: string;
        };
        SharedPath: {
            contentType: string;
            path: string;
        };
        SignedAnswer: {
            message: string;
            signature: string;
            version: number;
        };
        /** @enum {string} */
        Stance: "open" | "closed";
        Storage: {
            changed: number;
            missing: number;
            scrubbedAt?: string | null;
            untracked: number;
            untrackedBytes: number;
        };
        /** @enum {string} */
        SyncOrder: "standard" | "random" | "inOrder" | "";
        System: {
            disks: components["schemas"]["Disk"][];
            power?: components["schemas"]["Power"] | null;
            storage?: components["schemas"]["Storage"] | null;
            temperatureCelsius?: number | null;
            version: string;
        };
        Tag: {
            files: number;
            tag: string;
        };
        Tags: {
            tags: string[];
        };
        TokenPair: {
            accessToken: string;
            expiresIn: number;
            refreshToken: string;
        };
        TotpCode: {
            code: string;
        };
        TotpRequest: {
            password: string;
        };
        TotpState: {
            enabled: boolean;
            recoveryCodes: number;
        };
        VideoCapability: {
            codec: string;
            maxBitDepth?: number | null;
            maxLevel?: number | null;
            profiles?: string[] | null;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
