using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Routines of drivers that are called when the system stops with a bug check.</summary>
/// <remarks>
/// No dump is written. Of the routines for dumps those that add data of their own are called, as if one were; those that follow its
/// being written (KbCallbackDumpIo) or choose its pages have nothing to be called for.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/writing-a-bug-check-callback-routine"/>
public sealed class BugCheckCallbacks
{
    const uint Tag = 0x6243_654B; // "KeCb"
    const uint DumpBuffer = 0x1000;

    readonly Machine machine;
    readonly Lock gate = new();
    readonly List<PKBUGCHECK_CALLBACK_RECORD> records = [];
    readonly List<PKBUGCHECK_REASON_CALLBACK_RECORD> reasonRecords = [];

    internal BugCheckCallbacks(Machine machine) => this.machine = machine;

    /// <summary>Prepares a record for registration.</summary>
    [WdkInline]
    public static void KeInitializeCallbackRecord(PKBUGCHECK_CALLBACK_RECORD CallbackRecord) =>
        CallbackRecord.State = KBUGCHECK_BUFFER_DUMP_STATE.BufferEmpty;

    /// <inheritdoc cref="KeInitializeCallbackRecord(PKBUGCHECK_CALLBACK_RECORD)"/>
    [WdkInline]
    public static void KeInitializeCallbackRecord(PKBUGCHECK_REASON_CALLBACK_RECORD CallbackRecord) =>
        CallbackRecord.State = KBUGCHECK_BUFFER_DUMP_STATE.BufferEmpty;

    /// <summary>Registers a routine that is called at HIGH_LEVEL when the system stops. Any IRQL.</summary>
    /// <param name="Component">Names the driver for a debugger.</param>
    /// <returns>FALSE if the record is registered already.</returns>
    [KernelExport]
    public BOOLEAN KeRegisterBugCheckCallback(PKBUGCHECK_CALLBACK_RECORD CallbackRecord, PKBUGCHECK_CALLBACK_ROUTINE CallbackRoutine, PVOID Buffer,
        uint Length, PUCHAR Component)
    {
        lock (gate)
        {
            if (CallbackRecord.State != KBUGCHECK_BUFFER_DUMP_STATE.BufferEmpty) return false;
            CallbackRecord.CallbackRoutine = CallbackRoutine;
            CallbackRecord.Buffer = Buffer;
            CallbackRecord.Length = Length;
            CallbackRecord.Component = Component;
            CallbackRecord.Checksum = CallbackRoutine.Address + Buffer.Address + Length + Component.Address;
            CallbackRecord.State = KBUGCHECK_BUFFER_DUMP_STATE.BufferInserted;
            records.Add(CallbackRecord);
            return true;
        }
    }

    /// <summary>Takes a routine back; FALSE if it was not registered. Any IRQL.</summary>
    [KernelExport]
    public BOOLEAN KeDeregisterBugCheckCallback(PKBUGCHECK_CALLBACK_RECORD CallbackRecord)
    {
        lock (gate)
        {
            if (!records.Remove(CallbackRecord)) return false;
            CallbackRecord.State = KBUGCHECK_BUFFER_DUMP_STATE.BufferEmpty;
            return true;
        }
    }

    /// <summary>Registers a routine for a dump. Any IRQL.</summary>
    /// <returns>FALSE if the record is registered already, or the reason is none.</returns>
    [KernelExport]
    public BOOLEAN KeRegisterBugCheckReasonCallback(PKBUGCHECK_REASON_CALLBACK_RECORD CallbackRecord, PKBUGCHECK_REASON_CALLBACK_ROUTINE CallbackRoutine,
        KBUGCHECK_CALLBACK_REASON Reason, PUCHAR Component)
    {
        if (Reason is < KBUGCHECK_CALLBACK_REASON.KbCallbackSecondaryDumpData or > KBUGCHECK_CALLBACK_REASON.KbCallbackTriageDumpData) return false;
        lock (gate)
        {
            if (CallbackRecord.State != KBUGCHECK_BUFFER_DUMP_STATE.BufferEmpty) return false;
            CallbackRecord.CallbackRoutine = CallbackRoutine;
            CallbackRecord.Reason = Reason;
            CallbackRecord.Component = Component;
            CallbackRecord.Checksum = CallbackRoutine.Address + (ulong)Reason + Component.Address;
            CallbackRecord.State = KBUGCHECK_BUFFER_DUMP_STATE.BufferInserted;
            reasonRecords.Add(CallbackRecord);
            return true;
        }
    }

    /// <summary>Takes a routine back; FALSE if it was not registered. Any IRQL.</summary>
    [KernelExport]
    public BOOLEAN KeDeregisterBugCheckReasonCallback(PKBUGCHECK_REASON_CALLBACK_RECORD CallbackRecord)
    {
        lock (gate)
        {
            if (!reasonRecords.Remove(CallbackRecord)) return false;
            CallbackRecord.State = KBUGCHECK_BUFFER_DUMP_STATE.BufferEmpty;
            return true;
        }
    }

    /// <summary>Calls them all, newest first, on the thread that stops the machine. What one of them throws ends only that one.</summary>
    internal void Call(KernelThread thread)
    {
        PKBUGCHECK_CALLBACK_RECORD[] plain;
        PKBUGCHECK_REASON_CALLBACK_RECORD[] forDumps;
        lock (gate)
        {
            if (records.Count + reasonRecords.Count == 0) return;
            plain = [.. records.AsEnumerable().Reverse()];
            forDumps = [.. reasonRecords.AsEnumerable().Reverse().Where(r => r.Reason == KBUGCHECK_CALLBACK_REASON.KbCallbackSecondaryDumpData)];
        }
        thread.Irql = HIGH_LEVEL;
        foreach (PKBUGCHECK_REASON_CALLBACK_RECORD record in forDumps) Try(() => AddDumpData(record));
        foreach (PKBUGCHECK_CALLBACK_RECORD record in plain)
        {
            Try(() =>
            {
                record.State = KBUGCHECK_BUFFER_DUMP_STATE.BufferStarted;
                machine.Code.Call(record.CallbackRoutine, record.Buffer, record.Length);
                record.State = KBUGCHECK_BUFFER_DUMP_STATE.BufferFinished;
            }, () => record.State = KBUGCHECK_BUFFER_DUMP_STATE.BufferIncomplete);
        }
    }

    void AddDumpData(PKBUGCHECK_REASON_CALLBACK_RECORD record)
    {
        var data = new PKBUGCHECK_SECONDARY_DUMP_DATA(machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, KBUGCHECK_SECONDARY_DUMP_DATA.SizeOf, Tag, 0, zero: true));
        var buffer = new PVOID(machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, DumpBuffer, Tag, 0, zero: true));
        if (data.IsNull || buffer.IsNull) return;
        data.InBuffer = buffer;
        data.InBufferLength = DumpBuffer;
        data.MaximumAllowed = DumpBuffer;
        machine.Code.Call(record.CallbackRoutine, record.Reason, record, data, KBUGCHECK_SECONDARY_DUMP_DATA.SizeOf);
    }

    static void Try(Action call, Action? failed = null)
    {
        try
        {
            call();
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            failed?.Invoke();
        }
    }
}
