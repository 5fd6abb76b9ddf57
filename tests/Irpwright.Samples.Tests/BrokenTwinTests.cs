using Irpwright.Kernel;
using Irpwright.Testing;
using Irpwright.Verification;
using Irpwright.Wdk;

namespace Irpwright.Samples.Tests;

/// <summary>
/// Goal: a bug is found whichever language its driver is written in. Method: one scenario for each broken sample that has a twin; both
/// forms must break the same rule, or end the same way, after the same events.
/// </summary>
public sealed class BrokenTwinTests
{
    /// <param name="Finding">The rule that is broken; without one, the bug check, or a hang.</param>
    sealed record Bug(string Finding, Action<SampleRun> Scenario);

    static readonly Dictionary<string, Bug> Bugs = new()
    {
        ["broken-cancelset"] = new("IwCompletedCancelable", run =>
        {
            using DeviceHandle handle = run.Open();
            IoOperation read = handle.StartRead(new byte[4]);
            handle.Write(new byte[4]);
            read.Wait();
        }),
        ["broken-errorpath"] = new("DoubleCompletion", run => run.Open(Answering(IRP_MJ_READ, Respond.Now(STATUS_DEVICE_NOT_READY))).Read(new byte[16])),
        ["broken-event"] = new("DoubleCompletion", run => run.Build(run.Driver()).Start()),
        ["broken-forgotten"] = new("IrpProcessingComplete", run => run.Open().Control(BrokenForgotten.IOCTL_FORGOTTEN_SET, new byte[8])),
        ["broken-freeirp"] = new("IwFreedNoIrp", run => run.Open(new ScriptedDevice()).Dispose()),
        ["broken-lockheld"] = new("SpinLockSafe", run => run.Open().Read(new byte[4])),
        // Only a cancellation at the wrong moment shows it: a search finds it, in check.
        ["broken-lostcancel"] = new("nothing", run =>
        {
            using DeviceHandle handle = run.Open();
            IoOperation wait = handle.StartControl(BrokenLostCancel.IOCTL_LOSTCANCEL_WAIT, default, default);
            handle.Control(BrokenLostCancel.IOCTL_LOSTCANCEL_NOTIFY);
            wait.Wait();
        }),
        ["broken-pending"] = new("IwPendingNotPropagated", run => run.Open(Answering(IRP_MJ_READ, Respond.After(TimeSpan.FromMilliseconds(1)))).Read(new byte[16])),
        ["broken-remove"] = new("PnpIrpCompletion", run =>
        {
            DeviceStack stack = run.Build(run.Driver());
            stack.Start();
            stack.SurpriseRemove();
        }),
        ["broken-removelock"] = new("hang", run =>
        {
            using (DeviceHandle handle = run.Open(new ScriptedDevice())) handle.Write(new byte[4]);
            run.Remove();
        }),
        ["broken-status"] = new("LowerDriverReturn", run => run.Open(Answering(IRP_MJ_FLUSH_BUFFERS, Respond.Now(STATUS_INVALID_DEVICE_REQUEST))).Flush()),
    };

    public static TheoryData<string> Samples => [.. Bugs.Keys];

    [Theory]
    [MemberData(nameof(Samples))]
    public void Both_forms_of_the_driver_are_found_out_after_the_same_events(string sample)
    {
        IReadOnlyList<string> compiled = Run(sample, Form.Compiled);

        Assert.NotEmpty(compiled);
        Assert.Equal(compiled, Run(sample, Form.CSharp));
    }

    static ScriptedDevice Answering(byte majorFunction, Response response) =>
        new() { Otherwise = request => request.MajorFunction == majorFunction ? response : Respond.Now() };

    static IReadOnlyList<string> Run(string sample, Form form)
    {
        using var run = new SampleRun(sample, form);
        var verifier = Verifier.Attach(run.Machine);
        string end = "nothing";
        try
        {
            run.Machine.Run(() => Bugs[sample].Scenario(run));
        }
        catch (BugCheckException e)
        {
            end = e.Report.Code.ToString();
        }
        catch (MachineHungException)
        {
            end = "hang";
        }
        // Another rule may see another side of the same bug.
        Assert.Contains(Bugs[sample].Finding, verifier.Violations.Select(v => v.Rule.Name).Append(end));
        return run.Events.Events;
    }
}
