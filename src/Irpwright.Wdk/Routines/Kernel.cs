namespace Irpwright.Wdk;

// Callbacks of the kernel's Ke, Ex and Ps parts, named and with parameters as in the WDK.

[Routine] public delegate void KDEFERRED_ROUTINE(PKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2);

/// <summary>What every processor executes at once, for KeIpiGenericCall.</summary>
[Routine] public delegate ulong KIPI_BROADCAST_WORKER(ulong Argument);

[Routine] public delegate void KSTART_ROUTINE(PVOID StartContext);

[Routine] public delegate BOOLEAN KSERVICE_ROUTINE(PKINTERRUPT Interrupt, PVOID ServiceContext);

[Routine] public delegate BOOLEAN KSYNCHRONIZE_ROUTINE(PVOID SynchronizeContext);

[Routine] public delegate void KNORMAL_ROUTINE(PVOID NormalContext, PVOID SystemArgument1, PVOID SystemArgument2);

/// <summary>The parameters behind <paramref name="Apc"/> point to the APC's own copies, which the routine may change.</summary>
[Routine] public delegate void KKERNEL_ROUTINE(PKAPC Apc, PVOID NormalRoutine, PVOID NormalContext, PVOID SystemArgument1, PVOID SystemArgument2);

[Routine] public delegate void KRUNDOWN_ROUTINE(PKAPC Apc);

[Routine] public delegate void EXT_CALLBACK(PEX_TIMER Timer, PVOID Context);

[Routine] public delegate void EXT_DELETE_CALLBACK(PVOID Context);

[Routine] public delegate void WORKER_THREAD_ROUTINE(PVOID Parameter);

[Routine] public delegate void EXPAND_STACK_CALLOUT(PVOID Parameter);

[Routine] public delegate void KBUGCHECK_CALLBACK_ROUTINE(PVOID Buffer, uint Length);

/// <summary>For KbCallbackSecondaryDumpData, <paramref name="ReasonSpecificData"/> is a KBUGCHECK_SECONDARY_DUMP_DATA.</summary>
[Routine] public delegate void KBUGCHECK_REASON_CALLBACK_ROUTINE(KBUGCHECK_CALLBACK_REASON Reason, PKBUGCHECK_REASON_CALLBACK_RECORD Record,
    PVOID ReasonSpecificData, uint ReasonSpecificDataLength);

/// <summary>A RegistryCallback routine: <paramref name="Argument1"/> is a REG_NOTIFY_CLASS, <paramref name="Argument2"/> its structure.</summary>
[Routine] public delegate NTSTATUS EX_CALLBACK_FUNCTION(PVOID CallbackContext, PVOID Argument1, PVOID Argument2);

[Routine] public delegate void CALLBACK_FUNCTION(PVOID CallbackContext, PVOID Argument1, PVOID Argument2);

[Routine] public delegate PVOID ALLOCATE_FUNCTION(POOL_TYPE PoolType, ulong NumberOfBytes, uint Tag);

[Routine] public delegate PVOID ALLOCATE_FUNCTION_EX(POOL_TYPE PoolType, ulong NumberOfBytes, uint Tag, PLOOKASIDE_LIST_EX Lookaside);

[Routine] public delegate void FREE_FUNCTION(PVOID Buffer);

[Routine] public delegate void FREE_FUNCTION_EX(PVOID Buffer, PLOOKASIDE_LIST_EX Lookaside);

[Routine] public delegate NTSTATUS RTL_QUERY_REGISTRY_ROUTINE(PWSTR ValueName, uint ValueType, PVOID ValueData, uint ValueLength, PVOID Context,
    PVOID EntryContext);

[Routine] public delegate void CREATE_PROCESS_NOTIFY_ROUTINE(HANDLE ParentId, HANDLE ProcessId, BOOLEAN Create);

/// <summary><paramref name="CreateInfo"/> is NULL when the process ends.</summary>
[Routine] public delegate void CREATE_PROCESS_NOTIFY_ROUTINE_EX(PEPROCESS Process, HANDLE ProcessId, PVOID CreateInfo);

[Routine] public delegate void CREATE_THREAD_NOTIFY_ROUTINE(HANDLE ProcessId, HANDLE ThreadId, BOOLEAN Create);

/// <summary><paramref name="ProcessId"/> is 0 for drivers.</summary>
[Routine] public delegate void LOAD_IMAGE_NOTIFY_ROUTINE(PUNICODE_STRING FullImageName, HANDLE ProcessId, PIMAGE_INFO ImageInfo);
