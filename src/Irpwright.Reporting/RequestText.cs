using System.Runtime.InteropServices;
using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Reporting;

/// <summary>Function codes and parameters of stack locations, in the words of the documentation.</summary>
public static class RequestText
{
    static readonly string?[] PnpMinors =
    [
        "START_DEVICE", "QUERY_REMOVE_DEVICE", "REMOVE_DEVICE", "CANCEL_REMOVE_DEVICE", "STOP_DEVICE", "QUERY_STOP_DEVICE",
        "CANCEL_STOP_DEVICE", "QUERY_DEVICE_RELATIONS", "QUERY_INTERFACE", "QUERY_CAPABILITIES", "QUERY_RESOURCES",
        "QUERY_RESOURCE_REQUIREMENTS", "QUERY_DEVICE_TEXT", "FILTER_RESOURCE_REQUIREMENTS", null, "READ_CONFIG", "WRITE_CONFIG", "EJECT",
        "SET_LOCK", "QUERY_ID", "QUERY_PNP_DEVICE_STATE", "QUERY_BUS_INFORMATION", "DEVICE_USAGE_NOTIFICATION", "SURPRISE_REMOVAL", null,
        "DEVICE_ENUMERATED",
    ];

    static readonly string[] CreateAnswers =
        ["FILE_SUPERSEDED", "FILE_OPENED", "FILE_CREATED", "FILE_OVERWRITTEN", "FILE_EXISTS", "FILE_DOES_NOT_EXIST"];

    static readonly string[] PowerMinors = ["WAIT_WAKE", "POWER_SEQUENCE", "SET_POWER", "QUERY_POWER"];

    static readonly string?[] SystemControlMinors =
    [
        "QUERY_ALL_DATA", "QUERY_SINGLE_INSTANCE", "CHANGE_SINGLE_INSTANCE", "CHANGE_SINGLE_ITEM", "ENABLE_EVENTS", "DISABLE_EVENTS", "ENABLE_COLLECTION",
        "DISABLE_COLLECTION", "REGINFO", "EXECUTE_METHOD", null, "REGINFO_EX",
    ];

    /// <summary>Such as <c>IRP_MN_START_DEVICE</c>; empty where 0 means nothing, a number where it has no name.</summary>
    public static string Minor(byte major, byte minor)
    {
        string? name = major switch
        {
            IRP_MJ_PNP when minor < PnpMinors.Length => PnpMinors[minor],
            IRP_MJ_POWER when minor < PowerMinors.Length => PowerMinors[minor],
            IRP_MJ_SYSTEM_CONTROL when minor < SystemControlMinors.Length => SystemControlMinors[minor],
            _ => null,
        };
        return name is not null ? "IRP_MN_" + name : minor == 0 && major is not (IRP_MJ_PNP or IRP_MJ_POWER) ? "" : $"IRP_MN 0x{minor:x2}";
    }

    /// <summary>The parameters that identify a request, such as <c>offset 0  length 4096</c>; may be empty.</summary>
    public static string Parameters(PIO_STACK_LOCATION location)
    {
        ref IO_STACK_LOCATION.ParametersUnion p = ref location.Value.Parameters;
        return location.MajorFunction switch
        {
            IRP_MJ_READ or IRP_MJ_WRITE => $"offset {p.Read.ByteOffset}  length {p.Read.Length}",
            IRP_MJ_DEVICE_CONTROL or IRP_MJ_INTERNAL_DEVICE_CONTROL =>
                $"{ControlCode(p.DeviceIoControl.IoControlCode)}  in {p.DeviceIoControl.InputBufferLength}"
                + $"  out {p.DeviceIoControl.OutputBufferLength}",
            IRP_MJ_CREATE => FileName(location.FileObject),
            IRP_MJ_POWER when location.MinorFunction is IRP_MN_SET_POWER or IRP_MN_QUERY_POWER => PowerState(p.Power.Type, p.Power.State),
            IRP_MJ_POWER when location.MinorFunction == IRP_MN_WAIT_WAKE => PowerState(p.WaitWake.PowerState),
            IRP_MJ_PNP => PlugAndPlay(location),
            _ => "",
        };
    }

    /// <summary>What Information says when a request is over: bytes, or what else it means for this one; empty for nothing.</summary>
    public static string Answer(byte major, byte minor, ulong information) => (major, information) switch
    {
        (IRP_MJ_CREATE or IRP_MJ_CLEANUP or IRP_MJ_CLOSE or IRP_MJ_FLUSH_BUFFERS or IRP_MJ_SHUTDOWN or IRP_MJ_POWER or IRP_MJ_PNP, 0) => "",
        (IRP_MJ_CREATE, <= FILE_DOES_NOT_EXIST) => CreateAnswers[information],
        (IRP_MJ_PNP, _) when minor == IRP_MN_QUERY_PNP_DEVICE_STATE => $"{(PNP_DEVICE_STATE)information}",
        (IRP_MJ_PNP, _) => $"answer at {Format.Address(information)}",
        _ => $"{information} bytes",
    };

    /// <summary>A control code as number and transfer method: <c>0x00222004 METHOD_BUFFERED</c>.</summary>
    public static string ControlCode(uint code) => $"0x{code:x8} {TransferMethod(code)}";

    /// <summary>A stack location of an IRP; 1 is the lowest driver's.</summary>
    public static PIO_STACK_LOCATION Location(PIRP irp, int number) =>
        new(irp.Address + IRP.SizeOf + (ulong)(number - 1) * IO_STACK_LOCATION.SizeOf);

    /// <summary>The device whose driver has the IRP; null for its originator.</summary>
    public static PDEVICE_OBJECT Owner(PIRP irp) =>
        irp.CurrentLocation <= irp.StackCount ? irp.Tail.Overlay.CurrentStackLocation.DeviceObject : default;

    /// <summary>A count of stack locations.</summary>
    public static string StackLocations(int count) => count == 1 ? "1 stack location" : $"{count} stack locations";

    /// <summary>The outcomes for which a completion routine is to be called: success, error, cancel.</summary>
    public static IReadOnlyList<string> InvokeOn(SL_CONTROL control)
    {
        var outcomes = new List<string>(3);
        if ((control & SL_INVOKE_ON_SUCCESS) != 0) outcomes.Add("success");
        if ((control & SL_INVOKE_ON_ERROR) != 0) outcomes.Add("error");
        if ((control & SL_INVOKE_ON_CANCEL) != 0) outcomes.Add("cancel");
        return outcomes;
    }

    /// <summary>What a completion routine returned: its 0 is STATUS_CONTINUE_COMPLETION.</summary>
    public static string CompletionAnswer(NTSTATUS status) =>
        status == NTSTATUS.STATUS_CONTINUE_COMPLETION ? nameof(NTSTATUS.STATUS_CONTINUE_COMPLETION) : status.Name;

    /// <summary>The driver's name of a transfer method: the two lowest bits of a control code.</summary>
    public static string TransferMethod(uint code) => (code & 3) switch
    {
        METHOD_BUFFERED => "METHOD_BUFFERED",
        METHOD_IN_DIRECT => "METHOD_IN_DIRECT",
        METHOD_OUT_DIRECT => "METHOD_OUT_DIRECT",
        _ => "METHOD_NEITHER",
    };

    /// <summary>A power state as people say it: <c>D3</c>, <c>S3</c>.</summary>
    public static string PowerState(POWER_STATE_TYPE type, POWER_STATE state) => type == POWER_STATE_TYPE.SystemPowerState
        ? PowerState(state.SystemState)
        : state.DeviceState is >= DEVICE_POWER_STATE.PowerDeviceD0 and <= DEVICE_POWER_STATE.PowerDeviceD3 ? $"D{(int)state.DeviceState - 1}" : "unspecified";

    /// <summary><c>S0</c> to <c>S5</c>.</summary>
    public static string PowerState(SYSTEM_POWER_STATE state) =>
        state is >= SYSTEM_POWER_STATE.PowerSystemWorking and < SYSTEM_POWER_STATE.PowerSystemMaximum ? $"S{(int)state - 1}" : "unspecified";

    static string PlugAndPlay(PIO_STACK_LOCATION location)
    {
        ref IO_STACK_LOCATION.ParametersUnion p = ref location.Value.Parameters;
        return location.MinorFunction switch
        {
            IRP_MN_QUERY_ID => p.QueryId.IdType.ToString(),
            IRP_MN_QUERY_DEVICE_TEXT => p.QueryDeviceText.DeviceTextType.ToString(),
            IRP_MN_QUERY_DEVICE_RELATIONS => p.QueryDeviceRelations.Type.ToString(),
            IRP_MN_DEVICE_USAGE_NOTIFICATION => $"{p.UsageNotification.Type} {(p.UsageNotification.InPath ? "in path" : "no longer in path")}",
            _ => "",
        };
    }

    static string FileName(PFILE_OBJECT file)
    {
        if (file.IsNull || file.FileName.Length == 0) return "";
        return new string(MemoryMarshal.Cast<byte, char>(GuestMemory.Read(file.FileName.Buffer.Address, file.FileName.Length)));
    }
}
