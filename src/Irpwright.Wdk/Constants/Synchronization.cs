namespace Irpwright.Wdk;

/// <summary>First byte of a kernel object: what it is. A thread can wait for those up to TimerSynchronizationObject.</summary>
public enum KOBJECTS : byte
{
    EventNotificationObject = 0x00,
    EventSynchronizationObject = 0x01,
    MutantObject = 0x02,
    ProcessObject = 0x03,
    QueueObject = 0x04,
    SemaphoreObject = 0x05,
    ThreadObject = 0x06,
    GateObject = 0x07,
    TimerNotificationObject = 0x08,
    TimerSynchronizationObject = 0x09,
    ApcObject = 0x12,
    DpcObject = 0x13,
    DeviceQueueObject = 0x14,
    InterruptObject = 0x16,
    ProfileObject = 0x17,
    ThreadedDpcObject = 0x18,
}

public enum KWAIT_REASON
{
    Executive,
    FreePage,
    PageIn,
    PoolAllocation,
    DelayExecution,
    Suspended,
    UserRequest,
    WrExecutive,
    WrFreePage,
    WrPageIn,
    WrPoolAllocation,
    WrDelayExecution,
    WrSuspended,
    WrUserRequest,
    WrEventPair,
    WrQueue,
    WrLpcReceive,
    WrLpcReply,
    WrVirtualMemory,
    WrPageOut,
    WrRendezvous,
    WrKeyedEvent,
    WrTerminated,
    WrProcessInSwap,
    WrCpuRateControl,
    WrCalloutStack,
    WrKernel,
    WrResource,
    WrPushLock,
    WrMutex,
    WrQuantumEnd,
    WrDispatchInt,
    WrPreempted,
    WrYieldExecution,
    WrFastMutex,
    WrGuardedMutex,
    WrRundown,
}

public enum EVENT_TYPE
{
    NotificationEvent,
    SynchronizationEvent,
}

public enum TIMER_TYPE
{
    NotificationTimer,
    SynchronizationTimer,
}

public enum WAIT_TYPE
{
    WaitAll,
    WaitAny,
}

public enum KAPC_ENVIRONMENT
{
    OriginalApcEnvironment,
    AttachedApcEnvironment,
    CurrentApcEnvironment,
    InsertApcEnvironment,
}

public enum KDPC_IMPORTANCE
{
    LowImportance,
    MediumImportance,
    HighImportance,
    MediumHighImportance,
}

public enum WORK_QUEUE_TYPE
{
    CriticalWorkQueue,
    DelayedWorkQueue,
    HyperCriticalWorkQueue,
    NormalWorkQueue,
    BackgroundWorkQueue,
    RealTimeWorkQueue,
    SuperCriticalWorkQueue,
    MaximumWorkQueue,
    CustomPriorityWorkQueue = 32,
}

public enum KBUGCHECK_CALLBACK_REASON
{
    KbCallbackInvalid,
    KbCallbackReserved1,
    KbCallbackSecondaryDumpData,
    KbCallbackDumpIo,
    KbCallbackAddPages,
    KbCallbackSecondaryMultiPartDumpData,
    KbCallbackRemovePages,
    KbCallbackTriageDumpData,
}

/// <summary>State of a KBUGCHECK_CALLBACK_RECORD.</summary>
public enum KBUGCHECK_BUFFER_DUMP_STATE : byte
{
    BufferEmpty,
    BufferInserted,
    BufferStarted,
    BufferFinished,
    BufferIncomplete,
}

public enum KINTERRUPT_MODE
{
    LevelSensitive,
    Latched,
}

public static partial class Constants
{
    // KIRQL on x64
    public const byte PASSIVE_LEVEL = 0;
    public const byte LOW_LEVEL = 0;
    public const byte APC_LEVEL = 1;
    public const byte DISPATCH_LEVEL = 2;
    public const byte CMCI_LEVEL = 5;
    public const byte SYNCH_LEVEL = 12;
    public const byte CLOCK_LEVEL = 13;
    public const byte IPI_LEVEL = 14;
    public const byte DRS_LEVEL = 14;
    public const byte POWER_LEVEL = 14;
    public const byte PROFILE_LEVEL = 15;
    public const byte HIGH_LEVEL = 15;

    // IO_CONNECT_INTERRUPT_PARAMETERS.Version
    public const uint CONNECT_FULLY_SPECIFIED = 1;
    public const uint CONNECT_LINE_BASED = 2;
    public const uint CONNECT_MESSAGE_BASED = 3;
    public const uint CONNECT_FULLY_SPECIFIED_GROUP = 4;

    // Attributes of an EX_TIMER
    public const uint EX_TIMER_HIGH_RESOLUTION = 4;
    public const uint EX_TIMER_NO_WAKE = 8;
    public const uint EX_TIMER_NOTIFICATION = 0x80000000;
    public const long EX_TIMER_UNLIMITED_TOLERANCE = -1;

    // KPRIORITY
    public const int LOW_PRIORITY = 0;
    public const int LOW_REALTIME_PRIORITY = 16;
    public const int HIGH_PRIORITY = 31;
    public const int MAXIMUM_PRIORITY = 32;

    /// <summary>Objects a thread can wait for at once with its own wait blocks.</summary>
    public const int THREAD_WAIT_OBJECTS = 3;

    /// <summary>Objects a thread can wait for at once with wait blocks of the caller.</summary>
    public const int MAXIMUM_WAIT_OBJECTS = 64;

    /// <summary>For ExSetResourceOwnerPointerEx: the owner pointer is a thread with its two low bits set.</summary>
    public const uint FLAG_OWNER_POINTER_IS_THREAD = 1;

    // Processors
    public const ushort ALL_PROCESSOR_GROUPS = 0xFFFF;
    public const uint INVALID_PROCESSOR_INDEX = 0xFFFFFFFF;

    /// <summary>Bytes that KeExpandKernelStackAndCallout gives at most.</summary>
    public const ulong MAXIMUM_EXPANSION_SIZE = 0x11800;

    public const uint EVENT_QUERY_STATE = 0x0001;
    public const uint EVENT_MODIFY_STATE = 0x0002;
    public const uint EVENT_ALL_ACCESS = 0x001F0003;
}
