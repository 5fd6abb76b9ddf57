using System.Runtime.CompilerServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>How a machine is made.</summary>
public sealed record MachineOptions
{
    /// <summary>For host thread names and messages.</summary>
    public string Name { get; init; } = "machine";

    /// <summary>Decides every interleaving; null runs guest threads in parallel on the host's clock.</summary>
    public IScheduleStrategy? Strategy { get; init; } = new FifoStrategy();

    /// <summary>How long a driver may run without reaching the kernel before it counts as looping, host time.</summary>
    public TimeSpan Watchdog { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Branches, calls and string chunks that one call into a compiled driver may execute.</summary>
    public long InstructionBudget { get; init; } = 200_000_000;

    /// <summary>
    /// Watches every access of compiled drivers byte by byte, for what the memory rules report. Costs up to three times the time, and a
    /// byte for each one that is in use.
    /// </summary>
    public bool ChecksMemory { get; init; }

    /// <summary>
    /// Runs compiled code in a loop over its operations, as always on a host whose compiler does not make jumps of tail calls. It does the same,
    /// slower.
    /// </summary>
    public bool AvoidsTailCalls { get; init; }
}

/// <summary>
/// One whole simulated system: memory, kernel components, scheduler, events and loaded drivers. It only composes its
/// parts; machines share nothing, so hundreds can live side by side.
/// </summary>
public sealed partial class Machine : IDisposable
{
    // Longer than a loaded host keeps a thread that can run from running.
    static readonly TimeSpan StillForLong = TimeSpan.FromSeconds(1);

    bool disposed;

    public Machine(MachineOptions? options = null)
    {
        Options = options ?? new MachineOptions();
        Memory = new AddressSpace();
        if (Options.ChecksMemory) Shadow = new MemoryShadow(GuestMemory.SliceOf(Memory.SliceBase));
        Events = new KernelEvents(this);
        BugChecks = new BugChecks(this);
        Code = new CodeMap(this);
        Variables = new KernelVariables(this);
        SystemRoutines = new SystemRoutines(this);
        Faults = new FaultInjection(this);
        Scheduler = Options.Strategy is { } strategy ? new ControlledScheduler(this, strategy) : new FreeRunningScheduler(this);
        Choices = new Choices(this);
        Pool = new Pool(this);
        Dispatcher = new Dispatcher(this);
        Apcs = new Apcs(this);
        Mutexes = new Mutexes(this);
        Semaphores = new Semaphores(this);
        FastMutexes = new FastMutexes(this);
        Resources = new Resources(this);
        PushLocks = new PushLocks(this);
        SharedSpinLocks = new SharedSpinLocks(this);
        InterlockedLists = new InterlockedLists(this);
        Lookasides = new Lookasides(this);
        Processors = new Processors(this);
        ProcessorCalls = new ProcessorCalls(this);
        StackTraces = new StackTraces(this);
        BugCheckCallbacks = new BugCheckCallbacks(this);
        Rundowns = new Rundowns(this);
        Dpcs = new Dpcs(this);
        Timers = new Timers(this);
        ExTimers = new ExTimers(this);
        IoTimers = new IoTimers(this);
        SpinLocks = new SpinLocks(this);
        DeviceQueues = new DeviceQueues(this);
        Irqls = new Irqls(this);
        Mdls = new Mdls(this);
        ReservedMappings = new ReservedMappings(this);
        PageableSections = new PageableSections(this);
        IoSpace = new IoSpace(this);
        Hardware = new Hardware(this);
        Registers = new RegisterAccess(this);
        BusData = new BusData();
        DmaAdapters = new DmaAdapters(this);
        Interrupts = new Interrupts(this);
        Strings = new Strings(this);
        Modules = new LoadedModules(this);
        MemoryRoutines = new MemoryRoutines(this);
        CRuntime = new CRuntime(this);
        DebugOutput = new DebugOutput(this);
        Exceptions = new StructuredExceptions(this);
        Objects = new ObjectNamespace(this);
        Processes = new Processes(this);
        Threads = new Threads(this);
        NotifyRoutines = new NotifyRoutines(this);
        SystemVersion = new SystemVersion(this);
        SystemInformation = new SystemInformation(this);
        Handles = new Handles(this);
        NamedObjects = new NamedObjects(this);
        EventObjects = new EventObjects(this);
        VirtualMemory = new VirtualMemory(this);
        Sections = new Sections(this);
        PhysicalPages = new PhysicalPages(this);
        Uuids = new Uuids(this);
        Callbacks = new Callbacks(this);
        ObjectQueries = new ObjectQueries(this);
        WorkItems = new WorkItems(this);
        Time = new SystemTime(this);
        KeyNotifications = new KeyNotifications(this);
        Registry = new Registry(this);
        RegistryCallbacks = new RegistryCallbacks(this);
        Keys = new KeyServices(this);
        DriverKeys = new DriverKeys(this);
        RegistryValues = new RegistryValues(this);
        Bitmaps = new Bitmaps();
        GenericTables = new GenericTables(this);
        SplayTrees = new SplayTrees(this);
        CodePages = new CodePages();
        Guids = new Guids(this);
        SecurityData = new SecurityData();
        SecurityCapture = new SecurityCapture(this);
        WellKnownSecurity = new WellKnownSecurity(this);
        Devices = new Devices(this);
        Irps = new IrpAllocation(this);
        IrpLocations = new IrpStackLocations(this);
        Dispatch = new IrpDispatch(this);
        Completion = new IrpCompletion(this);
        Cancellation = new IrpCancellation(this);
        CancelSafeQueues = new CancelSafeQueues(this);
        StartIo = new StartIo(this);
        Builders = new IrpBuilders(this);
        SynchronousIrps = new SynchronousIrps(this);
        RemoveLocks = new RemoveLocks(this);
        Files = new FileObjects(this);
        Outstanding = new OutstandingIrps(this);
        Requests = new FileRequests(this);
        FastIo = new FastIo(this);
        Queues = new Queues(this);
        Ports = new CompletionPorts(this);
        Hints = new IrpHints(this);
        FileServices = new FileServices(this);
        Sharing = new ShareAccess(this);
        DriverExtensions = new DriverExtensions(this);
        Configuration = new Configuration(this);
        ErrorLog = new ErrorLog(this);
        FileSystems = new FileSystems(this);
        Media = new RemovableMedia(this);
        PartitionTables = new PartitionTables(this);
        Cache = new CacheManager(this);
        PinnedData = new PinnedData(this);
        FileNames = new FileNames(this);
        Shutdown = new Shutdown(this);
        Drivers = new Drivers(this);
        DriverServices = new DriverServices(this);
        PlugAndPlay = new PlugAndPlay(this);
        DeviceInterfaces = new DeviceInterfaces(this);
        PnpNotifications = new PnpNotifications(this);
        DeviceProperties = new DeviceProperties(this);
        Power = new SystemPower(this);
        PowerIrps = new PowerIrps(this);
        IdleDetection = new IdleDetection(this);
        PowerSettings = new PowerSettings(this);
        PowerFramework = new PowerFramework(this);
        Wmi = new WmiProviders(this);
        Tracing = new EventTracing();
    }

    public MachineOptions Options { get; }

    public string Name => Options.Name;

    public AddressSpace Memory { get; }

    /// <summary>The state of each byte; null unless <see cref="MachineOptions.ChecksMemory"/>.</summary>
    public MemoryShadow? Shadow { get; }

    public KernelEvents Events { get; }

    public BugChecks BugChecks { get; }

    public CodeMap Code { get; }

    public KernelVariables Variables { get; }

    public SystemRoutines SystemRoutines { get; }

    public FaultInjection Faults { get; }

    public Scheduler Scheduler { get; }

    /// <summary>What is open in a run besides the order of events.</summary>
    public Choices Choices { get; }

    /// <summary>Executes compiled drivers; null in a machine that has C# drivers only.</summary>
    public IGuestProcessor? Guest { get; set; }

    public Pool Pool { get; }

    public Dispatcher Dispatcher { get; }

    public Apcs Apcs { get; }

    public Mutexes Mutexes { get; }

    public Semaphores Semaphores { get; }

    public FastMutexes FastMutexes { get; }

    public Resources Resources { get; }

    public PushLocks PushLocks { get; }

    public SharedSpinLocks SharedSpinLocks { get; }

    public InterlockedLists InterlockedLists { get; }

    public Lookasides Lookasides { get; }

    public Processors Processors { get; }

    public ProcessorCalls ProcessorCalls { get; }

    public StackTraces StackTraces { get; }

    public BugCheckCallbacks BugCheckCallbacks { get; }

    public Callbacks Callbacks { get; }

    public Rundowns Rundowns { get; }

    public Dpcs Dpcs { get; }

    public Timers Timers { get; }

    public ExTimers ExTimers { get; }

    public IoTimers IoTimers { get; }

    public SpinLocks SpinLocks { get; }

    public DeviceQueues DeviceQueues { get; }

    public Irqls Irqls { get; }

    public Mdls Mdls { get; }

    public ReservedMappings ReservedMappings { get; }

    public PageableSections PageableSections { get; }

    public IoSpace IoSpace { get; }

    public Hardware Hardware { get; }

    public RegisterAccess Registers { get; }

    public BusData BusData { get; }

    public DmaAdapters DmaAdapters { get; }

    public Interrupts Interrupts { get; }

    public Strings Strings { get; }

    public LoadedModules Modules { get; }

    public MemoryRoutines MemoryRoutines { get; }

    public CRuntime CRuntime { get; }

    public DebugOutput DebugOutput { get; }

    public StructuredExceptions Exceptions { get; }

    public ObjectNamespace Objects { get; }

    public Processes Processes { get; }

    public Threads Threads { get; }

    public NotifyRoutines NotifyRoutines { get; }

    public SystemVersion SystemVersion { get; }

    public SystemInformation SystemInformation { get; }

    public Handles Handles { get; }

    public NamedObjects NamedObjects { get; }

    public EventObjects EventObjects { get; }

    public VirtualMemory VirtualMemory { get; }

    public Sections Sections { get; }

    public PhysicalPages PhysicalPages { get; }

    public Uuids Uuids { get; }

    public ObjectQueries ObjectQueries { get; }

    public Registry Registry { get; }

    public KeyNotifications KeyNotifications { get; }

    public RegistryCallbacks RegistryCallbacks { get; }

    public KeyServices Keys { get; }

    public DriverKeys DriverKeys { get; }

    public RegistryValues RegistryValues { get; }

    public Bitmaps Bitmaps { get; }

    public GenericTables GenericTables { get; }

    public SplayTrees SplayTrees { get; }

    public CodePages CodePages { get; }

    public Guids Guids { get; }

    public SecurityData SecurityData { get; }

    public SecurityCapture SecurityCapture { get; }

    public WellKnownSecurity WellKnownSecurity { get; }

    public WorkItems WorkItems { get; }

    public SystemTime Time { get; }

    public Devices Devices { get; }

    public IrpAllocation Irps { get; }

    public IrpStackLocations IrpLocations { get; }

    public IrpDispatch Dispatch { get; }

    public IrpCompletion Completion { get; }

    public IrpCancellation Cancellation { get; }

    public CancelSafeQueues CancelSafeQueues { get; }

    public StartIo StartIo { get; }

    public IrpBuilders Builders { get; }

    public SynchronousIrps SynchronousIrps { get; }

    public RemoveLocks RemoveLocks { get; }

    public FileObjects Files { get; }

    internal OutstandingIrps Outstanding { get; }

    public FileRequests Requests { get; }

    public FastIo FastIo { get; }

    public Queues Queues { get; }

    public CompletionPorts Ports { get; }

    public IrpHints Hints { get; }

    public FileServices FileServices { get; }

    public ShareAccess Sharing { get; }

    public DriverExtensions DriverExtensions { get; }

    public Configuration Configuration { get; }

    public ErrorLog ErrorLog { get; }

    public FileSystems FileSystems { get; }

    public RemovableMedia Media { get; }

    public PartitionTables PartitionTables { get; }

    public CacheManager Cache { get; }

    public PinnedData PinnedData { get; }

    public FileNames FileNames { get; }

    public Shutdown Shutdown { get; }

    public Drivers Drivers { get; }

    public DriverServices DriverServices { get; }
    public PlugAndPlay PlugAndPlay { get; }

    public DeviceInterfaces DeviceInterfaces { get; }

    public PnpNotifications PnpNotifications { get; }

    public DeviceProperties DeviceProperties { get; }

    public SystemPower Power { get; }

    public PowerIrps PowerIrps { get; }

    public IdleDetection IdleDetection { get; }

    public PowerSettings PowerSettings { get; }

    public PowerFramework PowerFramework { get; }

    public WmiProviders Wmi { get; }

    public EventTracing Tracing { get; }

    /// <summary>The guest thread that the calling code runs on.</summary>
    /// <exception cref="InvalidOperationException">The caller is not on a guest thread of this machine.</exception>
    public KernelThread CurrentThread
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => KernelThread.Current is { } thread && thread.Machine == this ? thread : ThrowNoThread();
    }

    static KernelThread ThrowNoThread() =>
        throw new InvalidOperationException("The kernel was called from outside the machine. Call it from driver code, or inside Machine.Run.");

    /// <summary>The guest thread that the calling code runs on, or null.</summary>
    public KernelThread? TryGetCurrentThread() => Own(KernelThread.Current);

    /// <summary>The thread, if it is one of this machine's.</summary>
    internal KernelThread? Own(KernelThread? thread) => thread is not null && thread.Machine == this ? thread : null;

    /// <summary>
    /// Runs code as a user thread of this machine and waits for it. On a controlled scheduler the run is deterministic.
    /// </summary>
    /// <exception cref="BugCheckException">A driver crashed the machine.</exception>
    /// <exception cref="MachineHungException">Nothing could ever run again.</exception>
    public void Run(Action scenario, string name = "user")
    {
        if (TryGetCurrentThread() is not null)
        {
            scenario();
            return;
        }
        RunOutside(scenario, name);
    }

    void RunOutside(Action scenario, string name)
    {
        BugChecks.ThrowIfStopped();
        System.Runtime.ExceptionServices.ExceptionDispatchInfo? failure = null;
        KernelThread thread = Scheduler.Start(name, ThreadKind.User, () =>
        {
            try
            {
                scenario();
            }
            catch (Exception e) when (BugChecks.StopReason is null && e is not (GuestFaultException or NtStatusException or UnwindException))
            {
                failure = System.Runtime.ExceptionServices.ExceptionDispatchInfo.Capture(e);
            }
        });
        Join(thread);
        BugChecks.WaitUntilTold();
        failure?.Throw();
        BugChecks.ThrowIfStopped();
    }

    /// <inheritdoc cref="Run(Action, string)"/>
    public T Run<T>(Func<T> scenario, string name = "user")
    {
        if (TryGetCurrentThread() is not null) return scenario();
        return RunOutside(scenario, name);
    }

    T RunOutside<T>(Func<T> scenario, string name)
    {
        T result = default!;
        Run(() => { result = scenario(); }, name);
        return result;
    }

    // The host watches from outside: a C# driver that loops never comes back to the kernel by itself.
    void Join(KernelThread thread)
    {
        long heartbeat = -1;
        var stuckSince = System.Diagnostics.Stopwatch.StartNew();
        while (!thread.HostIsDone.Wait(TimeSpan.FromMilliseconds(250)))
        {
            if (BugChecks.StopReason is not null)
            {
                Scheduler.End(thread);
                return;
            }
            if (heartbeat != Scheduler.Heartbeat)
            {
                heartbeat = Scheduler.Heartbeat;
                stuckSince.Restart();
            }
            else
            {
                if (stuckSince.Elapsed > StillForLong) Scheduler.StopIfHung();
                if (stuckSince.Elapsed > Options.Watchdog && !System.Diagnostics.Debugger.IsAttached) ReportStuck();
            }
        }
    }

    void ReportStuck()
    {
        KernelThread? stuck = Scheduler.Threads.FirstOrDefault(t => t.State == SchedulerState.Running && (t.Kind == ThreadKind.System || t.SystemCalls > 0));
        if (stuck is null) return;
        BugChecks.Looping(stuck, $"{stuck} has executed driver code for more than {Options.Watchdog.TotalSeconds:0} s without calling the kernel: the driver loops.");
        Scheduler.End(stuck);
    }

    /// <summary>What the kernel does for a thread that ends: its IRPs are cancelled and waited for, and it must own nothing.</summary>
    internal void ThreadExit(KernelThread thread)
    {
        NotifyRoutines.ThreadEnds(thread);
        Apcs.RequireEnabledAtExit(thread);
        Cancellation.CancelThreadIrps(thread);
        Mutexes.RunDown(thread);
        Apcs.RunDown(thread);
    }

    public void Dispose()
    {
        if (disposed) return;
        disposed = true;
        BugChecks.StopDisposed();
        bool ended = Scheduler.EndAll();
        Memory.StacksAreUsed = Guest is not null;
        if (Guest is IDisposable guest) guest.Dispose();
        // A C# driver that computes for ever cannot be stopped; nobody else may get the memory that it might reach.
        if (!ended) return;
        Shadow?.Dispose();
        Memory.Dispose();
    }
}
